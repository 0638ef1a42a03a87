/* The images that the views of the images share, loaded when the first of these views opens. */

import { numbers, pageData, picture } from "./data.js";

/** Resolves to the page data of the images, with the sheet decoded; `labels` are numbers, and `classes` the names that belong to them. */
export async function loadImages() {
  const found = await pageData.get("images", "page_data/images.js");
  await picture(found.images);
  return { ...found, present: [...new Set(numbers(found.labels))].sort((a, b) => a - b) };
}

/** The wanted value if it is in the list, else the first one. */
export const oneOf = (values, wanted) => (values.includes(wanted) ? wanted : values[0]);

/** Resolves to the page data of a method on the images, with its sheet of neighbours decoded. */
export async function loadEmbeddings(name) {
  const found = await pageData.get(`mnist/${name}`, `page_data/mnist/${name}.js`);
  await picture(found.neighbours);
  return found;
}
