// Pushes to this browser, and the one click of “no more letters”. Without this script letters stop by a button, and nothing is pushed.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

// A person who follows the link in a letter has clicked once already; programs that only look run no script.
document.querySelector("form[data-at-once]")?.requestSubmit();

const offer = document.querySelector("[data-push]");
if (offer) {
  const said = offer.querySelector("[data-push-said]");
  const button = offer.querySelector("[data-push-on]");
  if (!("serviceWorker" in navigator) || !("PushManager" in window)) {
    button.disabled = true;
    said.textContent = "This browser takes no pushes.";
  }
  button.addEventListener("click", async () => {
    try {
      const worker = await navigator.serviceWorker.register("/static/js/push-worker.js");
      const mine = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(offer.dataset.key) });
      const { endpoint, keys } = mine.toJSON();
      const answer = await fetch("/api/v1/me/notices/browsers", {
        method: "POST",
        headers: { "content-type": "application/json", "x-csrf-token": document.querySelector("[name=csrf_token]").value },
        body: JSON.stringify({ subscription: { endpoint, ...keys }, label: navigator.userAgent.slice(0, 200) }),
      });
      if (!answer.ok) throw new Error((await answer.json()).detail);
      location.reload();
    } catch (error) {
      said.textContent = Notification.permission === "denied" ? "The browser does not let us: allow notifications for this site." : error.message;
    }
  });
}
