// The page as a whole: a question is asked, and what comes of it is shown.

let waiting = null;   // AbortController of the request on its way
let tiny = false;     // whether m3-tiny is served

function busy(controller) {
  waiting = controller;
  $("result").setAttribute("aria-busy", String(Boolean(controller)));
  for (const id of ["ask", "compare"]) $(id).setAttribute("aria-disabled", String(Boolean(controller)));
  if (!controller && document.activeElement === $("stop")) $("ask").focus();   // before it goes
  $("stop").hidden = !controller;
}

async function ask(path) {
  if (waiting) return;
  const controller = new AbortController();
  busy(controller);
  clearRefusal();
  $("said").textContent = path === "v1/compare" ? "Asking at all scales." : "Asking.";
  try {
    await stage.coming;
    const { picture } = stage, question = $("question").value;
    if (!picture) throw new Refusal("Choose a picture first, drop or paste one, or take an example.", { param: "image", status: 400, sent: false });
    if (!question.trim()) throw new Refusal("Write a question about the picture.", { param: "question", status: 400, sent: false });
    const asked = { name: target.name, value: target.value };
    const reply = await send(path, { image: picture, question, ...target.fields }, controller.signal);
    const entry = { question, target: asked, family: picture.example, name: picture.name, picture, reply };
    past.add(entry);
    if (stage.picture !== picture) return;   // another one was taken meanwhile
    past.mark(entry);
    show(entry);
    bringIntoView($("result"));
  } catch (error) {
    if (error.name === "AbortError") $("said").textContent = "Stopped.";
    else if (error instanceof Refusal) refuse(error, path);
    else throw error;
  } finally {
    busy(null);
  }
}

function refuse(refusal, path) {
  $("said").textContent = "";
  hideReply();
  hideComparison();
  past.mark(null);
  preview();
  showRefusal(refusal, () => ask(path));
  code.draw();   // it may need a key now
  bringIntoView($("error"));
}

function show(entry) {
  clearRefusal();
  showReply(entry);
  if (entry.reply.answers) showComparison(entry);
  else hideComparison();
  $("said").textContent = spoken(entry.reply);
}

function bringIntoView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  if (top > innerHeight - 120 || bottom < 120) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  }
}

function reopen(entry) {
  $("question").value = entry.question;
  target.set(entry.target.name, entry.target.value);
  stage.put(entry.picture);
  past.mark(entry);
  show(entry);
  code.draw();
  bringIntoView($("result"));
}

stage.changed = (picture) => {
  examples.mark(picture);
  past.mark(null);
  clearRefusal();
  hideReply();
  hideComparison();
  $("foreign").hidden = !tiny || Boolean(picture.example);
  preview();
  code.draw();
};

// A fixed scale is drawn before anything is asked.
function preview() {
  if (target.name === "scale" && target.value) stage.show(gridOf(target.value, target.value, "as you set it"));
  else stage.show(past.shown && answeredGrid(past.shown.reply));
}

target.changed = () => {
  preview();
  code.draw();
};

examples.ask = (question) => {
  $("question").value = question;
  code.draw();
  ask("v1/answer");
};

past.open = reopen;

function served(body) {
  $("light").className = "light on";
  $("made-up").hidden = body.engine !== "fake";
  tiny = body.model === "tiny" && body.engine !== "fake";
  $("tiny").hidden = !tiny;
  $("served").textContent = `Model ${body.model} · ` +
    (body.router ? `router ${body.router}` : "no router loaded: every answer uses the full scale");
  code.model = body.model;
  aspect = body.aspect;
  preview();
  target.use(body.scales);
  code.draw();
}

function notServed(refusal) {
  $("light").className = "light off";
  $("served").textContent = refusal.status ? refusal.message : "The service cannot be reached.";
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask("v1/answer");
});
$("compare").addEventListener("click", () => ask("v1/compare"));
$("stop").addEventListener("click", () => waiting && waiting.abort());
for (const part of [stage, examples, target, code, past]) part.start();
examples.pick(shipped[0]);
watchReadiness(served, notServed);
