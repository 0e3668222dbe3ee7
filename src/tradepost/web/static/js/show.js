// A live show on top of a page that works by reload: the picture plays where the browser needs help with it, what happens arrives by
// itself, and buying stays in the show.
const show = document.querySelector("[data-show]");
const video = document.querySelector("[data-video]");

if (show) {
  const id = show.dataset.show;
  const host = show.dataset.host;
  const log = show.querySelector("#log");
  const frame = show.querySelector("[data-log-scroll]");
  const flash = show.querySelector("[data-flash]");
  /* Prices as the server writes them: around the number what it has around nothing. */
  const places = new Intl.NumberFormat("en", { style: "currency", currency: show.dataset.currency }).resolvedOptions().maximumFractionDigits;
  const number = new Intl.NumberFormat(show.dataset.locale, { minimumFractionDigits: places, maximumFractionDigits: places });
  const [before, after] = show.dataset.nothing.split(/0(?:[.,]0+)?/);
  const price = (minor) => before + number.format(minor / 10 ** places) + (after ?? "");
  const plain = (minor) => (minor / 10 ** places).toFixed(places);
  const csrf = () => document.querySelector("#act [name=csrf_token]").value;
  const mark = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
  let last = Number(show.dataset.last);

  /* The picture: natively where the browser can, else by the player that is served here, fetched only then. */
  async function play() {
    const address = video.dataset.video;
    if (!address.split("?")[0].endsWith(".m3u8")) return;
    if (video.canPlayType("application/vnd.apple.mpegurl") && !("ManagedMediaSource" in window) && !window.MediaSource) return;
    await new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = show.dataset.player;
      script.onload = done;
      script.onerror = fail;
      document.head.append(script);
    });
    if (!window.Hls?.isSupported()) return;
    video.replaceChildren();
    const player = new window.Hls({ enableWorker: false, lowLatencyMode: true });
    player.on(window.Hls.Events.ERROR, (_event, problem) => {
      if (!problem.fatal) return;
      if (problem.type === window.Hls.ErrorTypes.NETWORK_ERROR) setTimeout(() => player.startLoad(), 3000);
      else if (problem.type === window.Hls.ErrorTypes.MEDIA_ERROR) player.recoverMediaError();
    });
    player.loadSource(address);
    player.attachMedia(video);
    if (show.dataset.status === "live") video.play().catch(() => null);
  }
  if (video) play().catch(() => null);

  /* The recording: goods and words at their moments. */
  const moments = [...show.querySelectorAll("[data-from]")];
  const words = [...show.querySelectorAll("#log [data-at]")];
  function atMoment() {
    const now = video.currentTime;
    let current = null;
    for (const pin of moments) if (Number(pin.dataset.from) <= now && (!current || Number(pin.dataset.from) >= Number(current.dataset.from))) current = pin;
    for (const pin of moments) pin.toggleAttribute("aria-current", pin === current);
    for (const row of words) row.classList.toggle("say--later", Number(row.dataset.at) > now + 1);
  }
  if (video && show.dataset.status === "ended") {
    video.addEventListener("timeupdate", atMoment);
    video.addEventListener("seeked", atMoment);
    show.addEventListener("click", (event) => {
      const button = event.target.closest("[data-seek]");
      if (!button) return;
      video.currentTime = Number(button.dataset.seek);
      video.play().catch(() => null);
      video.scrollIntoView({ block: "nearest" });
    });
  }

  /* What is said. */
  const nearEnd = () => frame.scrollHeight - frame.scrollTop - frame.clientHeight < 120;
  const toEnd = () => { frame.scrollTop = frame.scrollHeight; };
  const icon = (name) => {
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("class", "icon");
    drawing.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `/static/vendor/icons.svg#${name}`);
    drawing.append(use);
    return drawing;
  };
  const made = (name, className, ...parts) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...parts);
    return element;
  };
  function comment(row) {
    const face = made("span", "avatar avatar--s");
    face.setAttribute("aria-hidden", "true");
    if (row.avatar_file_id) {
      const image = new Image(96, 96);
      image.src = `/media/${row.avatar_file_id}/160.webp`;
      image.alt = "";
      face.append(image);
    } else face.append((row.name || "?").slice(0, 1));
    const who = made("a", "", row.name || "Somebody");
    who.href = `/u/${encodeURIComponent(row.username || "")}`;
    const name = made("span", "say__name", who);
    if (row.user_id === host) name.append(" ", made("span", "say__host", "Host"));
    return made("li", "say", face, made("div", "say__text", name, row.is_removed ? "Comment removed" : row.body));
  }
  const facts = {
    started: () => ["radio", "The show begins"],
    ended: () => ["circle-check", "The show is over"],
    pinned: (d) => ["tag", "Now: ", made("b", "", d.title), d.price_minor ? `, ${price(d.price_minor)}` : ""],
    sold: (d) => ["shopping-bag", d.is_paid ? "Sold: " : "Being paid for: ", made("b", "", d.title), d.left === null ? "" : `, ${d.left} left`],
    auction: (d) => ["gavel", "Auction: ", made("b", "", d.title), `, from ${price(d.least_minor)}`],
    hammer: (d) => (d.name ? ["gavel", made("b", "", d.name), ` won at ${price(d.price_minor)}`] : ["gavel", "The auction ended without a winner"]),
    giveaway: (d) => ["gift", "Giveaway: ", made("b", "", d.prize)],
    draw: (d) => ["gift", made("b", "", d.name), ` won ${d.prize}.`],
  };
  function fact(row) {
    const [drawing, ...parts] = facts[row.kind](row.data);
    return made("li", `say say--fact say--${row.kind}`, icon(drawing), made("span", "", ...parts));
  }
  const shownFor = (text) => {
    flash.textContent = text;
    flash.hidden = false;
    setTimeout(() => { flash.hidden = true; }, 4000);
  };
  let counted = Number(show.querySelector("[data-comments]")?.textContent || 0);
  function happened(row) {
    if (row.seq <= last) return;
    last = row.seq;
    const follow = nearEnd();
    if (row.kind === "comment") {
      show.querySelector("[data-comments]").textContent = ++counted;
      const line = comment(row);
      line.dataset.seq = row.seq;
      log.append(line);
    } else if (facts[row.kind]) {
      const line = fact(row);
      line.dataset.seq = row.seq;
      log.append(line);
    }
    while (log.children.length > 300) log.firstElementChild.remove();
    if (follow) toEnd();
    if (row.kind === "removed") {
      const gone = log.querySelector(`[data-seq="${row.data.seq}"] .say__text`);
      if (gone) gone.lastChild.replaceWith("Comment removed");
    }
    if (row.kind === "bid") bidPlaced(row);
    if (row.kind === "sold") { shownFor(`${row.data.is_paid ? "Sold" : "Being paid for"}: ${row.data.title}`); stock(row.data.position, row.data.price_minor, row.data.left, row.data.left === null || Number(row.data.left) > 0); }
    if (row.kind === "hammer" && row.data.name) shownFor(`${row.data.name} won at ${price(row.data.price_minor)}`);
    if (row.kind === "draw") shownFor(`${row.data.name} won the giveaway`);
    if (["pinned", "unpinned", "auction", "hammer", "giveaway", "draw"].includes(row.kind)) redrawSoon();
    if (row.kind === "started" || row.kind === "ended") setTimeout(() => location.reload(), 800 + Math.random() * 1500);
  }

  /* What is for sale: single numbers change in place, anything more is drawn by the server; not by all viewers at the same moment. */
  let waiting = null;
  function redrawSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 100 + Math.random() * 500);
  }
  async function redraw() {
    const answer = await fetch(`/shows/${id}/goods`).catch(() => null);
    if (!answer?.ok) { waiting = setTimeout(redraw, 3000); return; }
    const goods = show.querySelector("#goods");
    const typed = goods.querySelector("#f-max")?.value;
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    goods.replaceChildren(holder.content);
    if (typed && goods.querySelector("#f-max")) goods.querySelector("#f-max").value = typed;
    goods.querySelector(".pin--top")?.classList.add("pin--new");
    aimBids();
  }
  function stock(position, minor, left, isThere) {
    const pin = show.querySelector(`[data-pin="${position}"]`);
    if (!pin) return;
    if (minor !== null && minor !== undefined) pin.querySelector("[data-price]").textContent = price(minor);
    pin.querySelector("[data-left]").textContent = !isThere ? "Gone" : left === null ? "" : `${left} left`;
    pin.classList.toggle("pin--out", !isThere);
    const button = pin.querySelector("[data-buy]");
    if (button) button.disabled = !isThere;
  }
  let ahead = 0;  // how far the server's clock is ahead of this one
  const sale = () => show.querySelector("[data-auction]");
  function aimBids() {
    const now = sale();
    if (!now) return;
    if (now.dataset.now) ahead = Number(now.dataset.now) - Date.now();
    for (const form of show.querySelectorAll("[data-bid]")) form.action = `/auctions/${now.dataset.auction}/bids`;
    const least = now.querySelector("[data-least]");
    if (least?.dataset.minor) show.querySelector("[data-least-field]").value = plain(Number(least.dataset.minor));
  }
  function bidPlaced(row) {
    const now = sale();
    if (!now || now.dataset.auction !== row.data.auction_id) { redrawSoon(); return; }
    now.dataset.closes = String(Date.parse(row.data.closes_at));
    ahead = Date.parse(row.data.now) - Date.now();
    now.querySelector("[data-price]").textContent = price(row.data.price_minor);
    now.querySelector("[data-leader]").textContent = `${row.name} leads`;
    now.querySelector("[data-bids]").textContent = row.data.bids === 1 ? "1 bid" : `${row.data.bids} bids`;
    now.querySelector("[data-call-off]")?.remove();
    const least = now.querySelector("[data-least]");
    if (least) least.textContent = price(row.data.least_minor);
    show.querySelector("[data-least-field]").value = plain(row.data.least_minor);
    now.classList.remove("sale--bumped");
    requestAnimationFrame(() => now.classList.add("sale--bumped"));
  }
  setInterval(() => {
    const now = sale();
    const face = now?.querySelector("[data-clock]");
    if (!face || now.classList.contains("sale--over")) return;
    const left = Math.max(0, Math.ceil((Number(now.dataset.closes) - Date.now() - ahead) / 1000));
    face.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    now.classList.toggle("sale--hurry", left <= 10);
  }, 250);

  /* What happens now, from the last number that was seen: after a broken line nothing is missing and nothing comes twice. */
  if (show.dataset.status !== "ended") {
    follow(`/api/v1/streams/${id}/events`, last, (event, note) => {
      if (event === "show") happened(note);
      if (event !== "note") return;
      for (const [name, value] of Object.entries({ viewers: note.viewers, likes: note.likes, shares: note.shares })) {
        const place = show.querySelector(`[data-${name}]`);
        if (place && value !== undefined) place.textContent = value;
      }
      for (const [position, [minor, left, isThere]] of Object.entries(note.pins ?? {})) stock(position, minor, left, isThere);
      const entries = show.querySelector("[data-entries]");
      if (entries && note.entries) entries.textContent = `${note.entries} in`;
    });
  }
  aimBids();
  if (show.dataset.status !== "ended") toEnd();

  /* Forms that stay. */
  async function post(form, data) {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: data, headers: { "x-live": "1" } }).catch(() => null);
    if (!answer) return ["No connection. Try again in a moment.", "bad"];
    const text = (answer.headers.get("content-type") ?? "").startsWith("text/plain") ? await answer.text() : "";
    if (answer.redirected) { location.href = answer.url; return null; }
    return answer.ok ? [text, "good"] : [text || "That did not work. Reload the page and try again.", "bad"];
  }
  const talk = show.querySelector("[data-say]");
  talk?.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!talk.elements.body.value.trim() || talk.dataset.busy) return;
    talk.dataset.busy = "1";
    const result = await post(talk, new FormData(talk));
    delete talk.dataset.busy;
    if (!result) return;
    if (result[1] === "bad") { say(...result); return; }
    talk.reset();
    talk.elements.nonce.value = mark();
    talk.elements.body.focus();
    toEnd();
  });
  async function bid(form) {
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    const result = await post(form, new FormData(form));
    delete form.dataset.busy;
    form.elements.nonce.value = mark();
    if (!result) return;
    say(result[0], result[1] === "good" && !result[0].startsWith("You lead") ? "info" : result[1]);
    const most = show.querySelector("#f-max");
    if (most && result[1] === "good") most.value = "";
  }
  const heart = show.querySelector("[data-like]");
  heart?.addEventListener("click", async (event) => {
    event.preventDefault();
    const likes = heart.getAttribute("aria-pressed") !== "true";
    heart.setAttribute("aria-pressed", String(likes));
    heart.value = likes ? "0" : "1";
    const body = new FormData();
    body.set("csrf_token", csrf());
    body.set("likes", likes ? "1" : "0");
    await fetch(heart.formAction, { method: "POST", body, headers: { "x-live": "1" } }).catch(() => null);
  });
  show.querySelector("[data-share-count]")?.addEventListener("click", (event) => {
    const body = new FormData();
    body.set("csrf_token", csrf());
    fetch(event.currentTarget.dataset.shareCount, { method: "POST", body }).catch(() => null);
  });

  /* Buying without leaving: the page's own answer takes the place of the goods' column, the picture goes on. */
  async function stay(request) {
    const answer = await request.catch(() => null);
    if (!answer) { say("No connection. Try again in a moment.", "bad"); return; }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const column = fresh.querySelector(".goods");
    if (!column) {
      if (answer.url.includes("/sign-in")) location.href = answer.url;
      else location.reload();
      return;
    }
    show.querySelector(".goods").replaceWith(document.adoptNode(column));
    for (const toast of fresh.querySelectorAll("#flash .toast")) document.querySelector("#flash").append(document.adoptNode(toast));
    aimBids();
    show.querySelector("#buy")?.scrollIntoView({ block: "nearest" });
    show.querySelector("#buy input:not([type=hidden]), #buy a")?.focus({ preventScroll: true });
  }
  show.addEventListener("click", (event) => {
    const button = event.target.closest("[data-buy]");
    if (!button) return;
    event.preventDefault();
    button.disabled = true;
    const body = new FormData();
    body.set("csrf_token", csrf());
    stay(fetch(button.formAction, { method: "POST", body }));
  });
  show.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-stay], [data-bid]");
    if (!form) return;
    event.preventDefault();
    if (form.matches("[data-bid]")) bid(form);
    else stay(fetch(form.getAttribute("action"), { method: "POST", body: new FormData(form, event.submitter) }));
  });
  show.addEventListener("change", (event) => {
    const choice = event.target.closest("[data-reprice]");
    if (!choice) return;
    const body = new FormData(choice.form);
    body.set("action", "update");
    stay(fetch(choice.form.getAttribute("action"), { method: "POST", body }));
  });
}
