"use strict";
/* The data. Scripts beside the page add it: a page that is opened from the file system may load no other kind of file. */

const pageData = {
  /** What was added, by name, and the scripts that were asked for. */
  contents: new Map(),
  asked: new Map(),

  /** Called by the data's scripts; see stages/pipeline/page_script.py. */
  add(name, content) {
    this.contents.set(name, content);
  },

  /** The content called `name`, once its script has been loaded. */
  get(name, file) {
    if (!this.asked.has(name)) {
      const loaded = new Promise((done, failed) => {
        const script = document.createElement("script");
        script.src = file;
        script.onload = () => done(this.contents.get(name));
        script.onerror = () => failed(new Error(`${file} is missing: dvc repro makes it, dvc pull brings it`));
        document.head.append(script);
      });
      this.asked.set(name, loaded);
    }
    return this.asked.get(name);
  },
};

const TYPES = { uint8: Uint8Array, uint16: Uint16Array };

/** The numbers of a packed array, low + step · q, row-major. */
function numbers(packed) {
  if (!packed.values) {
    const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
    const steps = new TYPES[packed.type](bytes.buffer);
    packed.values = Float32Array.from(steps, (q) => packed.low + packed.step * q);
    delete packed.data;
  }
  return packed.values;
}

/** The part of a packed array at the place `index` of its first dimension. */
function part(packed, index) {
  const size = packed.shape.slice(1).reduce((a, b) => a * b, 1);
  return numbers(packed).subarray(index * size, (index + 1) * size);
}

/** The picture of a sheet, once it is decoded. */
async function picture(sheet) {
  if (!sheet.image) {
    sheet.image = new Image();
    sheet.image.src = `data:image/png;base64,${sheet.png}`;
  }
  await sheet.image.decode();
  return sheet.image;
}

/** Draw image number `index` of a decoded sheet. */
function drawFromSheet(context, sheet, index, x, y, width, height) {
  const left = (index % sheet.columns) * sheet.width;
  const top = Math.floor(index / sheet.columns) * sheet.height;
  context.drawImage(sheet.image, left, top, sheet.width, sheet.height, x, y, width, height);
}
