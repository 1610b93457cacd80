// An answer: what was said, at which scale, how likely each scale was to be enough, and the cost.

function track(share) {
  const fill = make("div", "fill"), whole = make("div", "track", fill);
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  whole.setAttribute("aria-hidden", "true");
  return whole;
}

function heading(text) {
  const cell = make("th", "", text);
  cell.scope = "row";
  return cell;
}

// Who chose the scale of ``reply``.
function chooser(reply) {
  if (reply.decision.policy === "fixed") return "as you asked";
  return reply.decision.fallback ? `as a fallback: ${reply.decision.fallback}` : "chosen by the router";
}

// One sentence for who does not see the page.
function spoken(reply) {
  const { visual_tokens: used, full_visual_tokens: full } = reply.cost;
  return `Answer: ${reply.answer || "nothing"}. ${visualTokens(used)} of ${count(full)}, ${chooser(reply)}.`;
}

function showTruth(place, answer, right) {
  place.hidden = right === undefined;
  if (right === undefined) return;
  const good = isRight(answer, right);
  place.replaceChildren(badge(good ? "✓ right" : "✗ wrong", good ? "good" : "bad"), ` The right answer is “${right}”.`);
}

function showOdds(decision, scale) {
  const known = Object.entries(decision.probabilities).map(([at, p]) => [Number(at), p]).sort(([a], [b]) => a - b);
  $("odds").hidden = known.length === 0;
  $("ladder").replaceChildren(...known.map(([at, p]) => {
    const chosen = at === scale, label = heading(count(at));
    if (chosen) label.append(make("span", "unseen", ", chosen"));
    return make("tr", chosen ? "chosen" : "", label, make("td", "", track(p)), make("td", "", chance(p)));
  }));
}

function showCost(cost) {
  const row = (name, used, full, show) => make("div", "",
    make("dt", "", name),
    make("dd", "", make("span", "", `${show(used)} of ${show(full)}, ${difference(used, full)}`), track(used / full)));
  $("cost").replaceChildren(
    row("Visual tokens", cost.visual_tokens, cost.full_visual_tokens, count),
    row("FLOPs", cost.flops, cost.full_flops, flops),
  );
}

function showReply(entry) {
  const { reply, question, family } = entry, { cost, decision } = reply;
  $("asked").textContent = question;
  $("answer").textContent = reply.answer || "(an empty answer)";
  showTruth($("truth"), reply.answer, rightAnswer(family, question));
  const passes = reply.passes.length > 1 ? `, in passes of ${reply.passes.map(({ visual_tokens: n }) => count(n)).join(" and ")}` : "";
  $("saved").replaceChildren(
    make("b", "", visualTokens(cost.visual_tokens)),
    ` of ${count(cost.full_visual_tokens)}${passes}, ${chooser(reply)}`,
  );
  showCost(cost);
  showOdds(decision, reply.scale);
  $("certified").textContent = decision.certified ? "certified" : "not certified";
  $("certified").className = decision.certified ? "badge good" : "badge";
  const policy = decision.policy.replaceAll("_", " "), named = decision.reason.startsWith(policy);
  $("reason").textContent = `${named ? "" : `${policy}: `}${decision.reason}.`;
  $("times").replaceChildren(...Object.entries(reply.timings_ms).map(([stage, ms]) =>
    make("li", "", make("span", "", `${stage} `), milliseconds(ms))));
  $("json").textContent = JSON.stringify(reply, null, 2);
  $("reply").hidden = false;
  $("empty").hidden = true;
  stage.show(answeredGrid(reply));
}

function answeredGrid(reply) {
  return gridOf(reply.scale, reply.passes.at(-1).visual_tokens, chooser(reply));
}

function hideReply() {
  $("reply").hidden = true;
  $("empty").hidden = false;
}
