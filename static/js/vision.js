// Says before it is sent that an image will not reach the chosen model. What sees images, the picker knows.

import { gettext, interpolate } from "./i18n.js";

export class VisionNote {
  #model;
  #only;
  #note;
  #say;
  #hasImages = false;

  constructor(form, say) {
    this.#model = form.querySelector("[data-model]");
    this.#only = form.querySelector("[data-only]");
    this.#note = form.querySelector("[data-vision-note]");
    this.#say = say;
    form.addEventListener("change", () => this.show(this.#hasImages));
  }

  show(hasImages) {
    this.#hasImages = hasImages;
    const words = hasImages ? this.#describe() : "";
    if (words === this.#note.textContent) return;
    this.#note.hidden = !words;
    this.#note.textContent = words;
    if (words) this.#say(words);
  }

  #describe() {
    const [chosen] = this.#model.selectedOptions;
    const sees = (option) => option.dataset.vision === "yes";
    const someoneSees = [...this.#model.options].some((option) => sees(option) && !option.disabled);
    if (!someoneSees) return gettext("No model that can be asked just now takes images.");
    if (!chosen?.value || sees(chosen) || chosen.disabled) return "";
    const { name } = chosen.dataset;
    if (this.#only.checked) return interpolate(gettext("%(name)s takes no images, and no other model may answer."), { name });
    return interpolate(gettext("%(name)s takes no images: another model will answer."), { name });
  }
}
