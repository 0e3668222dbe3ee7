// A rider's moves on a weak network: each is kept on the phone until the server has it, and sent in the order it was made.
// Every move carries the key of its page, so one that arrives twice is made once. Without this script the forms are plain.
const KEPT = "rides";
const read = () => { try { return JSON.parse(localStorage.getItem(KEPT) ?? "[]"); } catch { return []; } };
const write = (moves) => { try { localStorage.setItem(KEPT, JSON.stringify(moves)); return true; } catch { return false; } };
const banner = document.querySelector("[data-waiting]");
function show() {
  const moves = read();
  if (banner) {
    banner.hidden = moves.length === 0;
    banner.querySelector("[data-waiting-count]").textContent = String(moves.length);
  }
  for (const stop of document.querySelectorAll("[data-ride-stop]")) {
    stop.classList.toggle("ride__stop--waiting", moves.some((move) => move.stop === stop.id));
  }
}

/* Pictures are made small before they are kept: a phone's storage and a weak network both are. */
async function small(file) {
  const drawn = await createImageBitmap(file);
  const scale = Math.min(1, 1280 / Math.max(drawn.width, drawn.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(drawn.width * scale);
  canvas.height = Math.round(drawn.height * scale);
  canvas.getContext("2d").drawImage(drawn, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}
async function packed(form) {
  const fields = [];
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string") fields.push([name, value]);
    else if (value.size) fields.push([name, null, await small(value)]);
  }
  return fields;
}
function unpacked(fields) {  // with the token of the page it is sent from: it may be kept until after another sign-in
  const data = new FormData();
  const token = document.querySelector("[name=csrf_token]")?.value;
  for (const [name, kept, picture] of fields) {
    const value = name === "csrf_token" && token ? token : kept;
    if (picture === undefined) { data.append(name, value); continue; }
    const bytes = Uint8Array.from(atob(picture.split(",")[1]), (c) => c.charCodeAt(0));
    data.append(name, new Blob([bytes], { type: "image/jpeg" }), "picture.jpg");
  }
  return data;
}

let isSending = false;
async function send() {
  if (isSending) return;
  isSending = true;
  let sent = 0;
  try {
    for (let moves = read(); moves.length; moves = read()) {
      const [move] = moves;
      let answer;
      try {
        answer = await fetch(move.to, { method: "POST", body: unpacked(move.fields), headers: { "x-sent-by": "script" }, signal: AbortSignal.timeout(20000) });
      } catch { return; }
      if (answer.status >= 500) return;
      const isOurs = (answer.headers.get("content-type") ?? "").startsWith("text/plain");  // said of this move, not of who sends it
      if (answer.status === 401 || (answer.status === 403 && !isOurs)) return say("You are signed out. Sign in again: what you did is kept here and goes out then.", "warn");
      write(read().slice(1));
      sent += answer.ok ? 1 : 0;
      if (!answer.ok) say(`${move.what}: ${await answer.text()}`, "bad");
    }
    if (sent) location.reload();
  } finally {
    isSending = false;
    show();
  }
}
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-late]")) return;
  event.preventDefault();
  const button = form.querySelector("button:not([type=button])");
  button.disabled = true;
  try {
    const kept = write([...read(), { to: form.action, what: form.dataset.late, stop: form.closest("[data-ride-stop]").id, fields: await packed(form) }]);
    if (!kept) { form.submit(); return; }
  } catch { form.submit(); return; }
  show();
  await send();
  button.disabled = false;
});
addEventListener("online", send);
setInterval(() => { if (read().length) send(); }, 15000);
show();
send();
