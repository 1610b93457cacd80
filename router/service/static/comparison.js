// The answers at all scales, side by side.

function sameAnswer(one, other) {
  return one.trim().toLowerCase() === other.trim().toLowerCase();
}

function scaleCard(at, entry) {
  const { reply, question, family, picture } = entry, full = reply.answers.at(-1);
  const chosen = at.scale === reply.scale, right = rightAnswer(family, question);
  const card = make("li", chosen ? "chosen" : "");
  if (picture.image) {
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", gridOf(at.scale, at.visual_tokens, "drawn over the picture").words);
    card.append(canvas);
    requestAnimationFrame(() => drawPicture(canvas, picture.image, Math.sqrt(at.scale)));
  }
  const marks = make("p", "marks");
  if (chosen) card.append(badge(reply.decision.policy === "fixed" ? "asked for" : "router’s choice", "accent choice"));
  if (at.error) {
    card.append(make("h3", "", visualTokens(at.visual_tokens)), make("p", "note bad", at.error.message));
    return card;
  }
  if (right !== undefined) marks.append(isRight(at.answer, right) ? badge("✓ right", "good") : badge("✗ wrong", "bad"));
  const p = reply.decision.probabilities[at.scale];
  const same = at !== full && !full.error && sameAnswer(at.answer, full.answer);
  const facts = [
    `${flops(at.flops)} FLOPs, ${percent(at.flops / reply.cost.full_flops)}`,
    p === undefined ? null : `enough: ${chance(p)} likely`,
    `sure of its words: ${chance(Math.exp(at.mean_logprob))}`,
    same ? "the full scale says the same" : null,
  ];
  card.append(
    make("h3", "", visualTokens(at.visual_tokens)),
    make("p", "answer", at.answer || "(nothing)"),
    ...(right === undefined ? [] : [marks]),
    make("p", "note", ...facts.filter(Boolean).flatMap((fact) => [fact, document.createElement("br")]).slice(0, -1)),
  );
  return card;
}

function showComparison(entry) {
  const { answers, timings_ms: times } = entry.reply;
  $("comparison-note").textContent = `“${entry.question}” The picture was encoded once; the answers at ` +
    `${answers.length} scales took ${milliseconds(times.compare)}. FLOPs in percent of the full scale’s; sure: mean probability of the answer’s tokens.`;
  $("scales").replaceChildren(...answers.map((at) => scaleCard(at, entry)));
  $("comparison").hidden = false;
}

function hideComparison() {
  $("comparison").hidden = true;
  $("scales").replaceChildren();
}
