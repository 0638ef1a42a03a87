/* Loading of the page data. It comes as scripts, because a page opened from the file system may load no other kind of file. */

export const pageData = {
  /** Loaded contents by name, and promises of the requested scripts. */
  contents: new Map(),
  requested: new Map(),

  /** Called by the data scripts, which stages/pipeline/page_script.py writes. */
  add(name, content) {
    this.contents.set(name, content);
  },

  /** Resolves to the content `name` once its script is loaded; rejects if the script is missing. */
  get(name, file) {
    if (!this.requested.has(name)) {
      const loaded = new Promise((done, failed) => {
        const script = document.createElement("script");
        script.src = file;
        script.onload = () => done(this.contents.get(name));
        script.onerror = () => failed(new Error(`${file} is missing: dvc repro makes it, dvc pull brings it`));
        document.head.append(script);
      });
      this.requested.set(name, loaded);
    }
    return this.requested.get(name);
  },
};

const TYPES = { uint8: Uint8Array, uint16: Uint16Array };

/** The values low + step · q of a quantised array, row-major; decoded once. */
export function numbers(packed) {
  if (!packed.values) {
    const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
    const steps = new TYPES[packed.type](bytes.buffer);
    packed.values = Float32Array.from(steps, (q) => packed.low + packed.step * q);
    delete packed.data;
  }
  return packed.values;
}

/** The slice of a quantised array at `index` of its first dimension. */
export function part(packed, index) {
  const size = packed.shape.slice(1).reduce((a, b) => a * b, 1);
  return numbers(packed).subarray(index * size, (index + 1) * size);
}

/** Resolves to the decoded image of a sheet. */
export async function picture(sheet) {
  if (!sheet.image) {
    sheet.image = new Image();
    sheet.image.src = sheet.png ? `data:image/png;base64,${sheet.png}` : `data:image/jpeg;base64,${sheet.jpeg}`;
  }
  await sheet.image.decode();
  return sheet.image;
}

/** The side in pixels of a picture of an image of the sheet: about `wanted`, and a multiple of the image's own side, so that it stays sharp. */
export const sideOf = (sheet, wanted) => sheet.width * Math.max(1, Math.round(wanted / sheet.width));

/** Draw image `index` of a decoded sheet. */
export function drawFromSheet(context, sheet, index, x, y, width, height) {
  const left = (index % sheet.columns) * sheet.width;
  const top = Math.floor(index / sheet.columns) * sheet.height;
  context.drawImage(sheet.image, left, top, sheet.width, sheet.height, x, y, width, height);
}
