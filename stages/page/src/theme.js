/* Light or dark: the system's setting, until the visitor chooses. */

const KEY = "energy-wells-theme";

/** What was chosen before, where the browser keeps it. */
function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Set up the button; `changed` redraws what does not follow the style sheet by itself. */
export function theme(changed) {
  /** @type {HTMLButtonElement} */
  const button = document.querySelector("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const tell = () => (button.textContent = dark() ? "Light theme" : "Dark theme");
  const before = kept();
  if (before === "light" || before === "dark") {
    document.documentElement.dataset.theme = before;
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // A browser may keep nothing; the theme then lasts until the page is reloaded.
    }
    tell();
    changed();
  });
  system.addEventListener("change", () => {
    tell();
    changed();
  });
  tell();
}
