// A made-to-order thing as one chooses: its price, what is left of the words, and the cake. The server reckons all of it again.
const shapes = { "6": 0.78, "8": 0.9, "10": 1 };
function written(minor, currency) {
  const digits = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
  return new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency }).format(minor / 10 ** digits);
}
const isDark = (color) => {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return r * 0.299 + g * 0.587 + b * 0.114 < 128;
};
function reckon(box) {
  let total = Number(box.dataset.base);
  for (const choice of box.querySelectorAll("input:checked[data-price]")) total += Number(choice.dataset.price);
  const quantity = Number(box.closest("form")?.elements.quantity?.value) || 1;
  const shown = box.querySelector("[data-total]");
  if (shown) shown.textContent = written(total * quantity, box.dataset.currency);
  for (const words of box.querySelectorAll("[data-piped]")) {
    const left = Number(words.dataset.most) - words.value.length;
    words.closest(".field").querySelector("[data-left]").textContent = words.value ? `${left} left.` : "";
  }
}
function draw(box) {
  const cake = box.querySelector("[data-cake]");
  if (!cake) return;
  const chosen = (part) => box.querySelector(`input:checked[data-part="${part}"]`);
  const paint = (selector, color) => { if (color) for (const piece of cake.querySelectorAll(selector)) piece.setAttribute("fill", color); };
  const frosting = chosen("frosting")?.dataset.color;
  paint("[data-cake-frosting], [data-cake-top]", frosting);
  paint("[data-cake-drip]", frosting && chosen("filling")?.dataset.color || frosting);
  paint("[data-cake-sponge]", chosen("flavor")?.dataset.color);
  cake.toggleAttribute("data-dark", Boolean(frosting && isDark(frosting)));
  const size = chosen("size")?.value.match(/\d+/)?.[0];
  cake.querySelector("[data-cake-body]").setAttribute("transform", `translate(160 214) scale(${shapes[size] ?? 0.9}) translate(-160 -214)`);
  const words = box.querySelector("input[data-part=message]")?.value ?? "";
  const text = cake.querySelector("[data-cake-words]");
  text.textContent = words;
  if (words.length > 14) text.setAttribute("textLength", "170"); else text.removeAttribute("textLength");
  text.setAttribute("lengthAdjust", "spacingAndGlyphs");
  cake.querySelector("[data-cake-candles]").toggleAttribute("hidden", !chosen("candles"));
  cake.querySelector("[data-cake-gold]").toggleAttribute("hidden", !chosen("gold_leaf"));
}
function refresh(form) {
  const box = form?.querySelector("[data-configure]");
  if (box) { reckon(box); draw(box); }
}
for (const type of ["input", "change"]) document.addEventListener(type, (event) => refresh(event.target.form));
const begin = () => { for (const box of document.querySelectorAll("[data-configure]")) refresh(box.closest("form")); };
begin();
document.addEventListener("htmx:load", begin);
document.addEventListener("htmx:afterSwap", begin);
