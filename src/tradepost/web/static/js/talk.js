// Live conversations on top of pages that work by reload: new messages arrive, what is sent stays on the page.
const thread = document.querySelector("#thread[data-talk]");
const inboxEvents = document.querySelector("[data-inbox-events]");

function setUnread(number) {
  for (const badge of document.querySelectorAll("[data-unread]")) badge.textContent = number || "";
}

if (inboxEvents) {
  let asked = null;
  follow(inboxEvents.dataset.inboxEvents, null, (event, data) => {
    if (event === "unread") setUnread(data.unread);
    if (event !== "note") return;
    clearTimeout(asked);  // the list as the server draws it takes the place of the one here
    asked = setTimeout(async () => {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
      if (!answer?.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const list = document.querySelector("#inbox");
      const other = fresh.querySelector("#inbox");
      if (list && other) list.replaceWith(document.adoptNode(other));
      else if (other) location.reload();
    }, 250);
  });
}

if (thread) {
  const id = thread.dataset.talk;
  const me = thread.dataset.me;
  const frame = document.querySelector("[data-talk-scroll]");
  const form = document.querySelector("#composer");
  const field = form.elements.body;
  const typing = document.querySelector("[data-typing]");
  let last = Number(thread.dataset.last);
  let asking = null;
  let again = false;
  let quiet = null;

  const scroller = () => (getComputedStyle(frame).overflowY === "auto" ? frame : document.scrollingElement);
  const nearEnd = () => { const s = scroller(); return s.scrollHeight - s.scrollTop - s.clientHeight < 160; };
  const toEnd = () => { const s = scroller(); s.scrollTo({ top: s.scrollHeight, behavior: "instant" }); };

  async function take() {  // one request at a time; whoever rings meanwhile gets another
    const follow = nearEnd();
    const seen = document.visibilityState === "visible" ? 1 : 0;
    const answer = await fetch(`/messages/${id}/after/${last}?seen=${seen}`).catch(() => null);
    if (!answer?.ok) {
      if (!answer || answer.status >= 500) setTimeout(look, 2000);
      return;
    }
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    for (const row of holder.content.querySelectorAll("[data-seq]")) {
      const seq = Number(row.dataset.seq);
      if (seq <= last) continue;
      last = seq;
      thread.append(row);
      if (typing && !row.classList.contains("bubble-row--own")) typing.hidden = true;
    }
    tellStates();
    if (follow) toEnd();
  }
  // What was read may be told before the message itself is here, drawn as it was a moment ago.
  const reached = { Seen: 0, Delivered: 0 };
  function tellStates() {
    for (const row of thread.querySelectorAll(".bubble-row--own")) {
      const state = row.querySelector("[data-state]");
      if (!state || state.textContent === "Seen") continue;
      const seq = Number(row.dataset.seq);
      if (seq <= reached.Seen) state.textContent = "Seen";
      else if (seq <= reached.Delivered) state.textContent = "Delivered";
    }
  }
  function look() {
    if (asking) { again = true; return asking; }
    asking = (async () => { do { again = false; await take(); } while (again); asking = null; })();
    return asking;
  }

  const line = follow(`/api/v1/conversations/${id}/events`, last, (event, note, number) => {
    if (event === "message" && number > last) look();
    if (event !== "note") return;
    const by = note.read ?? note.delivered;
    if (by && by !== me) {
      const word = note.read ? "Seen" : "Delivered";
      reached[word] = Math.max(reached[word], note.seq);
      tellStates();
    }
    if (note.typing && note.typing !== me && typing) {
      typing.hidden = false;
      clearTimeout(quiet);
      quiet = setTimeout(() => { typing.hidden = true; }, 5000);
    }
    if (note.changed) location.reload();
    const gone = note.gone && thread.querySelector(`[data-seq="${note.gone}"] .bubble`);
    if (gone) {
      const words = document.createElement("p");
      words.textContent = "Message deleted";
      gone.replaceChildren(words);
    }
  }, () => look());  // whatever was said while the line was down
  addEventListener("online", () => look());
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") look(); });

  const mark = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
  let sending = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (sending || (!field.value.trim() && !form.elements.picture.files.length)) return;
    sending = true;
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { "x-live": "1" } }).catch(() => null);
    sending = false;
    if (!answer) return say("No connection. Your message is still here: send it again in a moment.", "bad");
    if (!answer.ok) return say((answer.headers.get("content-type") ?? "").startsWith("text/plain") ? await answer.text() : "That did not work. Reload the page and try again.", "bad");
    form.reset();
    field.value = "";
    form.elements.nonce.value = mark();
    shown();
    await look();
    toEnd();
    field.focus();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    form.requestSubmit();
  });
  const file = form.querySelector("[data-file]");
  function shown() {
    const chosen = form.elements.picture.files[0];
    file.hidden = !chosen;
    file.textContent = chosen ? `With ${chosen.name}` : "";
  }
  form.elements.picture.addEventListener("change", shown);
  let said = 0;
  field.addEventListener("input", () => {
    if (Date.now() - said < 3000) return;
    said = Date.now();
    if (!line.say({ do: "typing" })) fetch(`/api/v1/conversations/${id}/typing`, { method: "POST", headers: { "x-csrf-token": form.elements.csrf_token.value } }).catch(() => null);
  });
  toEnd();
}
