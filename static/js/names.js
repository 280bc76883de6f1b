// What people call providers and models: the model picker has it. Who is not in there goes by its own name.

const picker = document.querySelector("[data-model]");

export function nameProvider(slug) {
  return picker.querySelector(`[data-provider="${CSS.escape(slug)}"]`)?.dataset.name ?? slug;
}

export function nameModel(provider, model) {
  const exact = `${provider}:${model}`;
  return picker.querySelector(`option[value="${CSS.escape(exact)}"]`)?.dataset.name ?? exact;
}
