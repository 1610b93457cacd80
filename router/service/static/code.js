// The question that stands in the form, as curl, Python, or OpenAI's client in Python.

function shellQuoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// Within -F, curl gives ; , and quotes in a file's name a meaning of their own, unless it stands in quotes.
function curlFile(name) {
  return shellQuoted(`image=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`);
}

const LANGUAGES = {
  curl({ base, keyed, name, question, fields }) {
    const lines = [`curl -s ${shellQuoted(`${base}/v1/answer`)}`];
    if (keyed) lines.push('-H "Authorization: Bearer $M3_API_KEY"');
    lines.push(`-F ${curlFile(name)}`, `--form-string ${shellQuoted(`question=${question}`)}`);
    for (const [field, value] of Object.entries(fields)) lines.push(`-F ${field}=${value}`);
    return lines.join(" \\\n  ");
  },

  python({ base, keyed, name, question, fields }) {
    const more = Object.entries(fields).map(([field, value]) => `, ${field}=${value}`).join("");
    return [
      ...(keyed ? ["import os", ""] : []),
      "from router.client import Client",
      "",
      `with Client(${JSON.stringify(base)}${keyed ? ', api_key=os.environ["M3_API_KEY"]' : ""}) as client:`,
      `    reply = client.answer(${JSON.stringify(name)}, ${JSON.stringify(question)}${more})`,
      "    print(reply.answer, reply.scale, reply.cost.flops)",
    ].join("\n");
  },

  openai({ base, keyed, name, type, question, fields, model }) {
    const more = Object.entries(fields).map(([field, value]) => `"${field}": ${value}`).join(", ");
    return [
      "import base64",
      ...(keyed ? ["import os"] : []),
      "from pathlib import Path",
      "",
      "from openai import OpenAI",
      "",
      `image = base64.b64encode(Path(${JSON.stringify(name)}).read_bytes()).decode()`,
      `client = OpenAI(base_url=${JSON.stringify(`${base}/v1`)}, api_key=${keyed ? 'os.environ["M3_API_KEY"]' : '"none"'})`,
      "reply = client.chat.completions.create(",
      `    model=${JSON.stringify(model)},`,
      '    messages=[{"role": "user", "content": [',
      `        {"type": "text", "text": ${JSON.stringify(question)}},`,
      `        {"type": "image_url", "image_url": {"url": f"data:${type};base64,{image}"}},`,
      "    ]}],",
      ...(more ? [`    extra_body={"m3": {${more}}},`] : []),
      ")",
      "print(reply.choices[0].message.content, reply.model)",
    ].join("\n");
  },
};

const code = {
  model: "NAME",

  draw() {
    const { picture } = stage, language = document.querySelector("input[name=language]:checked").value;
    $("code").textContent = LANGUAGES[language]({
      base: new URL(".", location.href).href.replace(/\/$/, ""),
      keyed: !$("key-field").hidden,
      name: picture ? picture.name : "picture.png",
      type: picture && picture.blob.type || "image/png",
      question: $("question").value || $("question").placeholder,
      fields: target.fields,
      model: this.model,
    });
    $("copied").textContent = "";
    $("save").hidden = !(picture && picture.image);
    if (picture && picture.image) {
      $("save").href = picture.image.src;
      $("save").download = picture.name;
    }
  },

  async copy() {
    const text = $("code").textContent;
    try {
      await navigator.clipboard.writeText(text);   // only over https and on this machine
    } catch {
      getSelection().selectAllChildren($("code"));
      if (!document.execCommand("copy")) {
        $("copied").textContent = "This browser does not let pages copy. The code is selected: press Ctrl+C.";
        return;
      }
    }
    $("copied").textContent = "Copied.";
  },

  start() {
    $("languages").addEventListener("change", () => this.draw());
    $("question").addEventListener("input", () => this.draw());
    $("copy").addEventListener("click", () => this.copy());
  },
};
