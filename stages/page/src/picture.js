/* A part of the page as a PNG. */

/** Save an element, as it is drawn, as a PNG file of twice its size. */
export async function savePicture(element, name) {
  const blob = await pictureOf(element);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** What a copied canvas, now an image, keeps of its layout. */
const KEPT = ["position", "left", "top", "width", "height", "maxWidth", "clipPath", "borderRadius", "margin", "display", "backgroundColor"];

/** The values of a row of controls as a line of text, since a picture has no controls. */
function settings(row) {
  const line = document.createElement("p");
  line.className = "note settings";
  for (const label of row.querySelectorAll("label:not([hidden])")) {
    const [control] = label.querySelectorAll("input, select");
    if (control.disabled || (control.type === "checkbox" && !control.checked)) {
      continue;
    }
    const name = label.querySelector("span").cloneNode(true);
    const value = control.type === "range" ? label.querySelector("output").textContent : control.selectedOptions?.[0]?.textContent;
    if (value !== undefined) {
      name.textContent += `: ${value}`;
    }
    line.append(name, " ");
  }
  return line;
}

/**
 * The PNG of an element: a copy of it, with its canvases as images, inside an SVG that the browser draws on a canvas. The SVG is as
 * wide as the window, so that the style sheet's rules for narrow screens hold for the copy where they hold for the element.
 */
export async function pictureOf(element, scale = 2) {
  // Of a table that scrolls, the picture has all.
  const tables = [...element.querySelectorAll(".wide")];
  const width = Math.max(element.clientWidth, ...tables.map((one) => one.scrollWidth));
  const height = element.scrollHeight + tables.reduce((sum, one) => sum + one.scrollHeight - one.clientHeight, 0);
  const copy = element.cloneNode(true);
  copy.style.cssText = `position: static; max-height: none; overflow: visible; width: ${width}px; box-sizing: border-box`;
  const canvases = [...element.querySelectorAll("canvas")];
  for (const [i, one] of [...copy.querySelectorAll("canvas")].entries()) {
    const image = document.createElement("img");
    image.src = canvases[i].toDataURL();
    const layout = getComputedStyle(canvases[i]);
    for (const key of KEPT) {
      image.style[key] = layout[key];
    }
    one.replaceWith(image);
  }
  const rows = [...element.querySelectorAll(".controls")];
  for (const [i, one] of [...copy.querySelectorAll(".controls")].entries()) {
    one.replaceWith(settings(rows[i]));
  }
  const style = [...document.querySelectorAll("style")].map((one) => one.textContent).join("\n");
  const body = document.createElement("div");
  body.setAttribute("xmlns", "http://www.w3.org/1999/xhtml");
  body.className = "picture";
  body.append(Object.assign(document.createElement("style"), { textContent: style }), copy);
  const root = document.documentElement;
  const theme = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const markup = new XMLSerializer().serializeToString(body);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" class="live" width="${Math.max(width, innerWidth)}" height="${height}" style="color-scheme: ${theme}"><foreignObject width="100%" height="100%">${markup}</foreignObject></svg>`;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: scale * width, height: scale * height });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  context.drawImage(image, 0, 0);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("the picture is empty")))));
}
