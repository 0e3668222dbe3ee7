// The assistant on top of a page that works by reload: a panel beside what one looks at, answers that come sentence by sentence.
const STYLE = document.querySelector("[data-ask]")?.dataset.askStyle;
const opener = document.querySelector("[data-ask]");
let panel = null;

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

/* One talk: what was said, the form under it. */
function talk(box) {
  const form = box.querySelector("#assistant-form");
  const field = form.elements.message;
  const said = box.querySelector("#assistant-said");
  const scroll = box.querySelector("[data-talkbox-scroll]");
  const token = () => form.elements.csrf_token.value;
  const toEnd = () => {
    scroll.scrollTop = scroll.scrollHeight;
    if (!box.closest(".askpanel")) said.lastElementChild?.scrollIntoView({ block: "nearest" });
  };
  let isBusy = false;

  function own(text) {
    const row = element("li", "said said--own");
    row.append(element("span", "sr-only", "You:"), element("p", "prose", text));
    said.append(row);
  }
  function answering() {
    const row = element("li", "said");
    const words = element("div", "said__words");
    const wait = element("span", "said__wait");
    wait.setAttribute("aria-hidden", "true");
    wait.append(element("i"), element("i"), element("i"));
    row.append(element("span", "sr-only", "Assistant:"), words, wait);
    said.append(row);
    return row;
  }
  /* The words stay as they were heard, so that nothing is read out twice; cards and buttons come with the whole turn. */
  function whole(row, html) {
    const made = document.createElement("template");
    made.innerHTML = html;
    const turn = made.content.querySelector(".said[data-seq]");
    if (!turn) return;
    const words = row.querySelector(".said__words");
    const texts = (root) => [...root.querySelectorAll(".said__words p")].map((p) => p.textContent).join("\n");
    if (texts(turn) !== texts(row)) words.replaceChildren(...turn.querySelectorAll(".said__words p"));
    row.dataset.seq = turn.dataset.seq;
    for (const part of turn.querySelectorAll(":scope > .said__cards, :scope > .said__buttons, :scope > .said__thumbs")) row.append(part);
    for (const hidden of row.querySelectorAll("[name=csrf_token]")) hidden.value = token();
  }
  async function count() {
    const cart = await fetch("/api/v1/cart").then((r) => (r.ok ? r.json() : null)).catch(() => null);
    if (!cart) return;
    for (const mark of document.querySelectorAll("#cart-count, #cart-count-bar")) mark.textContent = cart.line_count || "";
  }
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let kept = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      kept += value;
      for (let end = kept.indexOf("\n\n"); end >= 0; end = kept.indexOf("\n\n")) {
        const [name, data] = kept.slice(0, end).split("\n");
        kept = kept.slice(end + 2);
        yield [name.replace("event: ", ""), JSON.parse(data.replace("data: ", ""))];
      }
    }
  }
  function problem(row, text) {
    row.classList.add("said--problem");
    row.querySelector(".said__words").append(element("p", "", text));
  }
  async function send(message, data) {
    isBusy = true;
    own(message);
    const row = answering();
    const words = row.querySelector(".said__words");
    toEnd();
    try {
      const answer = await fetch(form.action, { method: "POST", body: data, headers: { "x-live": "1" } });
      if (!answer.ok || !answer.body) throw new Error(String(answer.status));
      for await (const [name, what] of events(answer.body)) {
        if (name === "sentence") words.append(element("p", "prose", what.text));
        if (name === "problem") problem(row, what.text);
        if (name === "turn") {
          whole(row, what.html);
          if (what.path === "cart") count();
          if (!box.querySelector(".talkbox__foot")) renew();
        }
        toEnd();
      }
    } catch {
      problem(row, "No connection. Please send it again in a moment.");
      if (!field.value) field.value = message;
    }
    row.querySelector(".said__wait").remove();
    toEnd();
    isBusy = false;
  }
  /* What stands under a talk (hand over, delete) needs one to be about. */
  async function renew() {
    const answer = await fetch("/assistant/panel").catch(() => null);
    if (!answer?.ok) return;
    const made = document.createElement("template");
    made.innerHTML = await answer.text();
    const foot = made.content.querySelector(".talkbox__foot");
    if (foot) box.append(foot);
    form.elements.csrf_token.value = made.content.querySelector("#assistant-form [name=csrf_token]").value;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isBusy) return;
    const message = event.submitter?.name === "say" ? event.submitter.value : field.value.trim();
    if (!message) return;
    const data = new FormData();
    data.set("csrf_token", token());
    data.set("message", message);
    if (event.submitter?.name !== "say") field.value = "";
    send(message, data);
    field.focus();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    form.requestSubmit();
  });
  box.addEventListener("submit", async (event) => {
    const thumbs = event.target.closest("[data-thumbs]");
    if (!thumbs) return;
    event.preventDefault();
    const data = new FormData(thumbs);
    data.set("helped", event.submitter.value);
    data.set("csrf_token", token());
    const answer = await fetch(thumbs.action, { method: "POST", body: data, headers: { "x-live": "1" } }).catch(() => null);
    if (!answer?.ok) return;
    for (const thumb of thumbs.querySelectorAll(".thumb")) thumb.setAttribute("aria-pressed", String(thumb === event.submitter));
  });
  toEnd();
  return field;
}

const remember = (value) => { try { sessionStorage.setItem("assistant", value); } catch { /* private windows */ } };
const small = matchMedia("(max-width: 47.99rem)");
function hideRest(is) {
  for (const part of document.body.children) if (part !== panel) part.inert = is && small.matches;
}

async function made() {
  const answer = await fetch("/assistant/panel").catch(() => null);
  if (!answer?.ok) { location.href = "/assistant"; return null; }
  if (STYLE && !document.querySelector(`link[href="${STYLE}"]`)) {
    const link = element("link");
    link.rel = "stylesheet";
    link.href = STYLE;
    const ready = new Promise((done) => { link.onload = link.onerror = done; });
    document.head.append(link);
    await ready;
  }
  const box = element("section", "askpanel");
  box.setAttribute("aria-label", "Assistant");
  const head = element("div", "askpanel__head");
  const doors = element("div");
  const big = element("a", "btn btn--quiet btn--small", "As a page");
  big.href = "/assistant";
  const close = element("button", "btn btn--quiet btn--small", "Close");
  close.type = "button";
  close.addEventListener("click", shut);
  doors.append(big, close);
  head.append(element("h2", "", "Assistant"), doors);
  box.innerHTML = await answer.text();
  box.prepend(head);
  box.addEventListener("keydown", (event) => { if (event.key === "Escape") shut(); });
  document.body.append(box);
  return box;
}

export async function open(focus = true) {
  if (!panel) {
    panel = await made();
    if (!panel) return;
    panel.field = talk(panel.querySelector("[data-talkbox]"));
  }
  panel.hidden = false;
  opener?.setAttribute("aria-expanded", "true");
  if (opener) opener.hidden = true;
  remember("open");
  hideRest(true);
  if (focus) panel.field.focus();
}

function shut() {
  panel.hidden = true;
  hideRest(false);
  remember("shut");
  if (!opener) return;
  opener.hidden = false;
  opener.setAttribute("aria-expanded", "false");
  opener.focus();
}

const page = document.querySelector(".page-assistant [data-talkbox]");
if (page) talk(page).focus();
