// Light, dark, or as the system says. The choice is kept in this browser alone.

const KEY = "weir-theme";
const CHOICES = ["auto", "light", "dark"] as const;
type Choice = (typeof CHOICES)[number];

const NAMES: Record<Choice, string> = { auto: "Auto", light: "Light", dark: "Dark" };

function read(): Choice {
  try {
    const kept = localStorage.getItem(KEY);
    return CHOICES.find((choice) => choice === kept) ?? "auto";
  } catch {
    // A browser may forbid storage.
    return "auto";
  }
}

/** Sets up the button; `changed` is called whenever colours may have changed. */
export function setUpTheme(button: HTMLElement, name: HTMLElement, changed: () => void): void {
  let choice = read();
  const show = (): void => {
    if (choice === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = choice;
    name.textContent = NAMES[choice];
    button.setAttribute("aria-label", `Colours: ${NAMES[choice]}. Change`);
    changed();
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length]!;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // Then it lasts until the page is left.
    }
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
}
