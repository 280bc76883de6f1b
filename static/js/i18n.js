// What the page says, in the reader's language: Django's catalogue (sasha/words.py), which is loaded before this.
// Placeholders have names: interpolate(gettext("%(count)s tokens"), { count }).

const catalogue = globalThis.django;

export const gettext = (words) => catalogue.gettext(words);

export const ngettext = (one, many, count) => catalogue.ngettext(one, many, count);

export const pgettext = (context, words) => catalogue.pgettext(context, words);

export const interpolate = (words, values) => catalogue.interpolate(words, values, true);
