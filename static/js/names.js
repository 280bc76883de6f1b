// What people call providers and models: the model picker has it. Who is not in there goes by its own name.

import { gettext, interpolate } from "./i18n.js";

const picker = document.querySelector("[data-model]");

export function nameProvider(slug) {
  return picker.querySelector(`[data-provider="${CSS.escape(slug)}"]`)?.dataset.name ?? slug;
}

export function nameModel(provider, model) {
  // Only a model of an imported answer has no provider.
  return nameExact(provider ? `${provider}:${model}` : model);
}

// `exact`: provider:model.
export function nameExact(exact) {
  return picker.querySelector(`option[value="${CSS.escape(exact)}"]`)?.dataset.name ?? exact;
}

// What an answer waits for before its first word; `slug` is missing where nobody has been asked yet.
export function waitingFor(slug) {
  if (!slug) return gettext("Waiting for an answer");
  return interpolate(gettext("Waiting for %(provider)s"), { provider: nameProvider(slug) });
}
