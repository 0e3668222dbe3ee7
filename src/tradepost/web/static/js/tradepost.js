// Small comforts on top of pages that work without them. No framework, no globals; htmx does the fetching.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const on = (type, selector, run, options) =>
  document.addEventListener(type, (event) => {
    const found = event.target instanceof Element && event.target.closest(selector);
    if (found) run(event, found);
  }, options);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/* Light, dark or as the machine says: applied at once, remembered in a cookie that the server reads. */
function setScheme(value) {
  const root = document.documentElement;
  if (value === "auto") delete root.dataset.scheme;
  else root.dataset.scheme = value;
  const life = value === "auto" ? "max-age=0" : "max-age=31536000";
  document.cookie = `scheme=${value};path=/;samesite=lax;${life}`;
  for (const button of $$(".scheme__button")) button.setAttribute("aria-pressed", String(button.value === value));
}
on("click", "[data-scheme-form] button", (event, button) => {
  event.preventDefault();
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (getComputedStyle(document.documentElement).colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  setScheme("schemeToggle" in button.dataset ? (dark ? "light" : "dark") : button.value);
});

/* Toasts leave by themselves, unless they report a failure or are being read. */
const leave = (toast, after = 6000) => setTimeout(() => {
  if (toast.matches(":hover, :focus-within")) leave(toast);
  else toast.remove();
}, after);
function say(text, tone = "info") {
  const toast = document.createElement("div");
  toast.className = `toast toast--${tone}`;
  toast.setAttribute("role", tone === "bad" ? "alert" : "status");
  const words = document.createElement("p");
  words.append(text);
  toast.append(words);
  $("#flash")?.append(toast);
  leave(toast, tone === "bad" ? 15000 : 6000);
}
/* A line to the server that tells what happens. After a break it goes on after the last number that was heard, so nothing is missing
   and nothing comes twice. Server-sent events where the page came by HTTP/2 or newer; by HTTP/1.1 a browser holds only six of them
   open, so there it is a WebSocket, which costs the server more, and events where none gets through. `hear(event, data, number)`;
   `opened()` each time it stands. */
const MANY_LINES = /^h[23]/.test(performance.getEntriesByType("navigation")[0]?.nextHopProtocol ?? "");
function follow(path, last, hear, opened = () => null) {
  const REFUSED = 4000, QUIET_MS = 45000;
  let socket = null, source = null, heard = 0, works = false, failures = 0, timer = null, over = false;
  const address = () => (last === null ? path : `${path}?after=${last}`);
  const took = (event, number, data) => {
    if (number) last = Math.max(last ?? 0, number);
    hear(event, data, number);
  };
  function listen() {
    source = new EventSource(address());
    for (const name of ["message", "show", "note", "unread"]) {
      source.addEventListener(name, (event) => took(name, name === "message" || name === "show" ? Number(event.lastEventId) : 0, JSON.parse(event.data)));
    }
    source.addEventListener("open", () => opened());
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(listen, 1000 + Math.random() * 2000);
    });
  }
  function call() {
    clearTimeout(timer);
    if (over || (socket && socket.readyState < 2)) return;
    const mine = new WebSocket(new URL(address(), location.href).href.replace(/^http/, "ws"));
    socket = mine;
    heard = Date.now();
    mine.addEventListener("open", () => { works = true; failures = 0; opened(); });
    mine.addEventListener("message", (event) => {
      heard = Date.now();
      const said = JSON.parse(event.data);
      if (said.event !== "alive") took(said.event, said.id ?? 0, said.data);
    });
    mine.addEventListener("close", (event) => {
      if (socket !== mine) return;
      socket = null;
      over = event.code >= REFUSED && event.code < REFUSED + 429;
      if (over) return;
      failures += 1;
      if (!works && failures >= 2 && window.EventSource) { listen(); over = true; return; }
      timer = setTimeout(call, Math.min(15000, 300 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random()));
    });
  }
  if (!window.WebSocket) over = true;
  const hangUp = () => { const old = socket; socket = null; old?.close(); };
  const watch = setInterval(() => { if (socket && Date.now() - heard > QUIET_MS) { hangUp(); call(); } }, 5000);
  addEventListener("offline", hangUp);
  addEventListener("online", () => { failures = 0; if (works || socket) call(); });
  addEventListener("pagehide", hangUp);
  addEventListener("pageshow", (event) => { if (event.persisted) call(); });
  if (window.WebSocket && !(MANY_LINES && window.EventSource)) call();
  else if (window.EventSource) listen();
  return {
    end() {
      over = true;
      clearTimeout(timer);
      clearInterval(watch);
      hangUp();
      source?.close();
    },
    say(what) {
      if (socket?.readyState !== 1) return false;  // open
      socket.send(JSON.stringify(what));
      return true;
    },
  };
}

/* What somebody is told while they look at something else; a page in the background needs no line for it. */
const bell = $("[data-notices]");
if (bell) {
  const tell = (event, data) => {
    if (event === "unread") $("[data-notices-count]", bell).textContent = data.unread || "";
    if (event !== "note" || !data.path) return;
    const link = document.createElement("a");
    link.href = data.path;
    link.textContent = data.title;
    say(link);
  };
  let line = null, leaving = null;
  const look = () => {
    clearTimeout(leaving);
    if (document.visibilityState === "visible") line ??= follow("/api/v1/notices/events", null, tell);
    else leaving = setTimeout(() => { line?.end(); line = null; }, 20000);
  };
  document.addEventListener("visibilitychange", look);
  look();
}

on("click", "[data-dismiss]", (_event, button) => button.closest("[data-toast]").remove());

/* Quantity buttons keep to the step and the limits, in decimals without dust. */
function stepBy(stepper, direction) {
  const input = $("input", stepper);
  if (direction > 0) input.stepUp();
  else input.stepDown();
  input.dispatchEvent(new Event("change", { bubbles: true }));
}
function limitStepper(stepper) {
  const input = $("input", stepper);
  const [less, more] = $$("[data-step]", stepper);
  const value = Number(input.value);
  less.disabled = input.min !== "" && value <= Number(input.min);
  more.disabled = input.max !== "" && value >= Number(input.max);
}
on("click", "[data-step]", (_event, button) => stepBy(button.closest("[data-stepper]"), Number(button.dataset.step)));
on("input", "[data-stepper] input", (_event, input) => limitStepper(input.closest("[data-stepper]")));
on("change", "[data-stepper] input", (_event, input) => limitStepper(input.closest("[data-stepper]")));

/* Chosen pictures are shown before they are sent; blobs are outside the page's policy, so they become data. */
function preview(file, list) {
  const item = document.createElement("figure");
  item.className = "preview";
  const frame = document.createElement("span");
  frame.className = "picture";
  const name = document.createElement("span");
  name.textContent = `${file.name} (${(file.size / 1048576).toFixed(1)} MB)`;
  item.append(frame, name);
  list.append(item);
  const reader = new FileReader();
  reader.onload = () => {
    const image = new Image();
    image.alt = file.name;
    image.src = reader.result;
    frame.append(image);
  };
  if (file.type.startsWith("image/")) reader.readAsDataURL(file);
}
on("change", "input[data-preview]", (_event, input) => {
  const list = document.getElementById(input.dataset.preview);
  list.replaceChildren();
  for (const file of input.files) preview(file, list);
});
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  on(type, ".drop", (_event, drop) => drop.classList.toggle("drop--over", type === "dragenter" || type === "dragover"));
}

/* The gallery scrolls by its own; thumbs and arrow keys move it without moving the page. */
function showSlide(gallery, index) {
  const slides = $$(".gallery__slide", gallery);
  const slide = slides[Math.max(0, Math.min(index, slides.length - 1))];
  slide.parentElement.scrollTo({ left: slide.offsetLeft - slide.parentElement.offsetLeft, behavior: calm.matches ? "instant" : "smooth" });
}
on("click", ".gallery__thumb", (event, thumb) => {
  event.preventDefault();
  showSlide(thumb.closest(".gallery"), Number(thumb.dataset.index));
});
on("keydown", ".gallery__strip", (event, strip) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!move) return;
  event.preventDefault();
  showSlide(strip.closest(".gallery"), Math.round(strip.scrollLeft / strip.clientWidth) + move);
});
function watchGallery(gallery) {
  const strip = $(".gallery__strip", gallery);
  strip?.addEventListener("scroll", () => {
    const at = Math.round(strip.scrollLeft / strip.clientWidth);
    $$(".gallery__thumb", gallery).forEach((thumb, index) => thumb.toggleAttribute("aria-current", index === at));
    const count = $("[data-gallery-at]", gallery);
    if (count) count.textContent = String(at + 1);
  }, { passive: true });
}

/* Forms that need no button where scripts run. */
on("change", "[data-autosubmit]", (event, field) => (field.form ?? field).requestSubmit());

/* Rows that repeat (variants): a new one is the template with the next number. */
on("click", "[data-add-row]", (event, button) => {
  const template = document.getElementById(button.dataset.addRow);
  const list = document.getElementById(template.dataset.list);
  const number = Number(list.dataset.next);
  if (number >= Number(list.dataset.most)) return;
  event.preventDefault();
  const holder = document.createElement("template");
  holder.innerHTML = template.innerHTML.replaceAll("__n__", String(number));
  const row = holder.content.firstElementChild;
  list.append(holder.content);
  list.dataset.next = String(number + 1);
  $("input:not([type=hidden])", row)?.focus();
});

/* Options get their column in every row, and in rows still to come, as soon as they have a name. */
on("input", "[name^='option_name.']", (_event, input) => {
  const name = input.value.trim();
  for (const root of [document, $("#variant-template").content]) {
    for (const field of $$(`[data-option="${input.name.split(".")[1]}"]`, root)) {
      field.hidden = name === "";
      $("label", field).textContent = name;
    }
  }
});

/* A listing is asked what its category asks for. */
on("change", ".listing-form [name=category]", (_event, select) => {
  for (const part of $$("[data-categories]", select.form)) {
    part.hidden = part.disabled = !part.dataset.categories.split(" ").includes(select.value);
  }
});

/* The browser's own way to share, or the address on the clipboard. */
on("click", "[data-share]", async (_event, button) => {
  const address = new URL(button.dataset.share, location.href).href;
  try {
    if (navigator.share) await navigator.share({ title: document.title, url: address });
    else {
      await navigator.clipboard.writeText(address);
      say("Link copied.", "good");
    }
  } catch (error) {
    if (error.name !== "AbortError") say("The link could not be copied. It is in the address bar.", "warn");
  }
});

on("click", "[data-print]", () => print());

/* Ticked rows are counted where something can be done with them. */
on("change", "input[type=checkbox][data-row]", (_event, box) => {
  const count = $(`[data-bulk-count="${box.form.id}"]`);
  if (count) count.textContent = `${$$(`input[data-row]:checked`, document).filter((row) => row.form === box.form).length} ticked`;
});

/* Arrow keys go from card to card on a board. */
on("keydown", "[data-board-card]", (event, card) => {
  const column = card.closest(".board__column");
  const beside = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
  const next = { ArrowDown: card.nextElementSibling, ArrowUp: card.previousElementSibling }[event.key]
    ?? (beside && $("[data-board-card]", column[beside] ?? column));
  if (!next) return;
  event.preventDefault();
  $("a", next)?.focus();
});

/* The position is rounded to about 100 m before it leaves the machine. */
on("click", "[data-locate]", (_event, button) => {
  const form = button.form ?? button.closest("form");
  button.disabled = true;
  navigator.geolocation.getCurrentPosition(({ coords }) => {
    if (!form) {  // a page that goes by the position: remembered, to about a kilometre
      document.cookie = `position=${coords.latitude.toFixed(2)},${coords.longitude.toFixed(2)};path=/;samesite=lax;max-age=2592000`;
      location.reload();
      return;
    }
    form.elements.lat.value = coords.latitude.toFixed(3);
    form.elements.lon.value = coords.longitude.toFixed(3);
    if (form.elements.place) form.elements.place.value = "";
    button.disabled = false;
    form.requestSubmit();
  }, () => {
    button.disabled = false;
    say("Your position is not available. Pick a town instead.", "warn");
  }, { maximumAge: 600000, timeout: 10000 });
});

/* A menu closes when the page is used elsewhere. */
document.addEventListener("click", (event) => {
  for (const menu of $$("[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input, textarea, select, [contenteditable]");
  if (event.key === "Escape") for (const menu of $$("[data-menu][open]")) { menu.open = false; $("summary", menu).focus(); }
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $("#search")?.focus(); }
});

/* The search field is a combobox: focus stays in it, arrow keys choose among the suggestions, Enter follows the chosen one. */
const field = $("#search");
const box = $("#suggestions");
const options = () => $$("[role=option]", box);
function choose(option) {
  for (const each of options()) each.setAttribute("aria-selected", String(each === option));
  if (option) field.setAttribute("aria-activedescendant", option.id);
  else field.removeAttribute("aria-activedescendant");
  option?.scrollIntoView({ block: "nearest" });
}
function expand(open) {
  box.hidden = !open;
  field.setAttribute("aria-expanded", String(open && options().length > 0));
  if (!open) choose(null);
}
if (field && box) {
  const always = { role: "combobox", "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-controls": "suggestions", "aria-expanded": "false" };
  for (const [name, value] of Object.entries(always)) field.setAttribute(name, value);
  field.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "Escape" && !box.hidden && all.length) {
      event.preventDefault();
      expand(false);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && all.length) {
      event.preventDefault();
      expand(true);
      const next = event.key === "ArrowDown" ? at + 1 : (at < 0 ? all.length : at) - 1;
      choose(all[next] ?? null);  // past either end the typed words are chosen again
    } else if (event.key === "Enter" && at >= 0 && !box.hidden) {
      event.preventDefault();
      $("a", all[at]).click();
    }
  });
  field.addEventListener("input", () => choose(null));
  field.addEventListener("blur", () => choose(null));
  box.addEventListener("htmx:afterSwap", () => expand(true));
}

/* A picture flies from the list to the item where the browser can do that. */
addEventListener("pageswap", (event) => {
  const to = event.activation?.entry?.url;
  if (!event.viewTransition || !to) return;
  const path = new URL(to).pathname;
  const link = $$(".card__title a").find((candidate) => new URL(candidate.href).pathname === path);
  const media = link && $(".picture", link.closest(".card"));
  if (media) media.style.viewTransitionName = "listing-picture";
});
for (const type of ["pageswap", "pagereveal"]) {
  addEventListener(type, (event) => {  // a transition that the browser skips is no error
    for (const step of ["ready", "finished"]) event.viewTransition?.[step].catch(() => {});
  });
}

/* Likes answer at once and are taken back when the server does not agree; guests are asked to sign in by the plain post. */
function flip(like) {
  like.setAttribute("aria-pressed", String(like.getAttribute("aria-pressed") !== "true"));
}
on("click", ".like", (event, like) => {
  if (!window.htmx || !("signedIn" in $("#act").dataset)) return;
  event.preventDefault();
  flip(like);
  htmx.ajax("POST", like.formAction, { source: like, swap: "none", values: Object.fromEntries(new FormData($("#act"))) });
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.target.matches?.(".like") && !event.detail.successful) flip(event.target);
});

/* Passkeys: the browser asks for a finger, a face or a PIN, and the form takes the answer to the server. */
const fromBase64 = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const toBase64 = (data) => btoa(String.fromCharCode(...new Uint8Array(data))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
function passkeyOptions(text) {
  const options = JSON.parse(text);
  options.challenge = fromBase64(options.challenge);
  if (options.user) options.user.id = fromBase64(options.user.id);
  for (const list of [options.excludeCredentials, options.allowCredentials]) for (const key of list ?? []) key.id = fromBase64(key.id);
  return { publicKey: options };
}
function passkeyAnswer(made) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (made.response[name]) response[name] = toBase64(made.response[name]);
  }
  return JSON.stringify({ id: made.id, rawId: toBase64(made.rawId), type: made.type, response, clientExtensionResults: {} });
}
on("submit", "[data-passkey]", async (event, form) => {
  if (form.elements.credential.value) return;
  event.preventDefault();
  try {
    const made = await navigator.credentials[form.dataset.passkey](passkeyOptions(form.dataset.options));
    form.elements.credential.value = passkeyAnswer(made);
    form.requestSubmit();
  } catch (error) {
    const known = error.name === "InvalidStateError";
    say(known ? "This device has a passkey for your account already." : "No passkey was used. Try again, or choose another way.", "warn");
  }
});

/* htmx: the cart's count bumps, failures speak. */
document.addEventListener("htmx:oobAfterSwap", (event) => {
  const count = event.detail.target;
  if (!count?.matches?.(".count")) return;
  count.classList.remove("count--bump");
  requestAnimationFrame(() => count.classList.add("count--bump"));
});
/* Filters make short addresses: fields left empty stay out. A button outside its form still says which it was. */
document.addEventListener("htmx:configRequest", (event) => {
  const { elt, formData, triggeringEvent } = event.detail;
  if (elt.id !== "filter-form") return;
  for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  const button = triggeringEvent?.submitter;
  if (button?.name) formData.set(button.name, button.value);
});

/* A refused form comes back with its mistakes marked: the part named by data-on-error takes the place of the one here. */
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  const part = requestConfig.elt.closest("[data-on-error]")?.dataset.onError;
  if (!part || (xhr.status !== 422 && xhr.status !== 409)) return;
  Object.assign(event.detail, { shouldSwap: true, isError: false, target: $(part), selectOverride: part, swapOverride: "outerHTML" });
});
for (const type of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(type, () => say("No connection. Nothing was lost: try again in a moment.", "bad"));
}
document.addEventListener("htmx:responseError", (event) => {
  const busy = event.detail.xhr.status === 429;
  say(busy ? "That was a little fast. Wait a moment and try again." : "That did not work. Reload the page and try again.", "bad");
});

function settle(root) {
  for (const toast of $$(".toast:not(.toast--bad)", root)) leave(toast);
  for (const stepper of $$("[data-stepper]", root)) limitStepper(stepper);
  for (const gallery of $$(".gallery", root)) watchGallery(gallery);
  $("[data-focus]", root)?.focus();
}
settle(document);
document.addEventListener("htmx:load", (event) => { if (event.target !== document.body) settle(event.target); });

/* The assistant beside the page; without scripts the same link opens it as a page. It stays open from page to page where it stands beside them. */
const ask = $("[data-ask]");
if (ask) {
  const assistant = () => import(ask.dataset.ask);
  on("click", "[data-ask]", async (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    try { (await assistant()).open(); } catch { location.href = ask.href; }
  });
  let was = "";
  try { was = sessionStorage.getItem("assistant"); } catch { /* private windows */ }
  if (was === "open" && matchMedia("(min-width: 80rem)").matches) assistant().then((it) => it.open(false)).catch(() => null);
}
