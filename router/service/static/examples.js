// Pictures that come with the page, their questions, and the right answers to these.

const shipped = JSON.parse($("shipped").textContent);

const examples = {
  ask: () => {},   // called with a question when one of an example's is picked

  start() {
    $("examples").replaceChildren(...shipped.map((example) => {
      const image = make("img");
      image.src = `data:image/png;base64,${example.png}`;
      image.alt = "";
      const button = make("button", "example", image, example.family);
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => this.pick(example));
      return button;
    }));
  },

  pick(example) {
    $("question").value = example.questions[0].text;
    return stage.take(blobOf(example.png, "image/png"), `${example.family}.png`, example.family);
  },

  // Marks the example that ``picture`` is, if it is one, and offers its questions.
  mark(picture) {
    [...$("examples").children].forEach((button, index) => {
      button.setAttribute("aria-pressed", String(shipped[index].family === picture.example));
    });
    const example = shipped.find(({ family }) => family === picture.example);
    $("chips").hidden = !example;
    $("chips").replaceChildren(...(example ? example.questions : []).map(({ text }) => {
      const chip = make("button", "", text);
      chip.type = "button";
      chip.addEventListener("click", () => this.ask(text));
      return chip;
    }));
  },
};

// The right answer to a question about an example; undefined where it is not known.
function rightAnswer(family, question) {
  const example = shipped.find((each) => each.family === family);
  return example && example.questions.find(({ text }) => text === question.trim())?.answer;
}

function isRight(answer, right) {
  return answer.trim().toLowerCase() === right.toLowerCase();
}
