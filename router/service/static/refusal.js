// A refusal in words that help: what happened, which field is at fault, and whether to try again.

const HEADLINES = [
  [({ status }) => status === 0, "The service did not answer"],
  [({ status }) => status === 401, "An API key is needed"],
  [({ code }) => code.startsWith("image_") || code === "invalid_base64", "This picture cannot be used"],
  [({ status }) => status === 413, "This picture is too large"],
  [({ status }) => status === 429, "Too many questions at once"],
  [({ status }) => status === 503, "The service is busy or not ready"],
  [({ status }) => status === 504 || status === 408, "It took too long"],
  [({ status }) => status >= 500, "Something went wrong in the service"],
  [() => true, "The question cannot be answered as it stands"],
];

const FIELDS = { question: "question", image: "file" };   // param of an error -> what can be corrected here

function showRefusal(refusal, again) {
  const [, headline] = HEADLINES.find(([fits]) => fits(refusal));
  const facts = refusal.sent
    ? [refusal.code, refusal.status && `status ${refusal.status}`, refusal.requestId && `request ${refusal.requestId}`]
    : [];
  const parts = [
    make("p", "", make("b", "", headline)),
    make("p", "", refusal.message),
    make("p", "facts", facts.filter(Boolean).join(" · ")),
  ];
  if (refusal.again) {
    const button = make("button", "", "Try again");
    button.type = "button";
    button.addEventListener("click", again);
    if (refusal.waitS > 0) countDown(button, refusal.waitS);
    parts.push(button);
  }
  $("error").replaceChildren(...parts);
  $("error").hidden = false;
  $("empty").hidden = true;
  if (refusal.status === 401) {
    $("key-field").hidden = false;
    $("key").focus();
  }
  const field = FIELDS[refusal.param];
  if (field) {
    $(field).setAttribute("aria-invalid", "true");
    $(field).focus();
  }
}

function clearRefusal() {
  $("error").hidden = true;
  $("error").replaceChildren();
  for (const field of Object.values(FIELDS)) $(field).removeAttribute("aria-invalid");
}

// The button waits as long as the service asks for.
function countDown(button, seconds) {
  const until = Date.now() + 1000 * seconds;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0 && button.isConnected) setTimeout(tick, 250);
  };
  button.disabled = true;
  button.textContent = `Try again in ${seconds} s`;
  setTimeout(tick, 250);
}
