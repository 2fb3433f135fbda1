// @ts-check
/**
 * The arithmetic and the words of an atlas, as atlas/SPEC.md has them: node to pack, cell and pixel; view to link and
 * back; steps and typicality in words. Pure functions that know nothing of the page.
 *
 * @typedef {{street: number, health: number, income: number, education: number}} View  street counts from 0
 * @typedef {{block: number[], columns: number, pitch: number}} Sheets
 * @typedef {{stride: number, size: number, columns: number, pitch: number}} Thumbs
 * @typedef {{cells: string[], columns: number, pitch: number, inset: number}} Key
 * @typedef {{type: "step", axis: string, step: number} | {type: "street", by: number, of: number}
 *   | {type: "reset"} | {type: "view", view: View}} Change
 */
var AtlasGrid = (function () {
  "use strict";

  const AXES = ["health", "income", "education"];
  const STEP = /^[+-]?\d{1,4}$/;

  /** @param {number} n @param {number} step @returns {number} the index of a step in arrays */
  function index(n, step) {
    return step + n;
  }

  /** @param {View} view @returns {number[]} its three steps */
  function steps(view) {
    return [view.health, view.income, view.education];
  }

  /**
   * Where a node's image is.
   * @param {number} n @param {Sheets} sheets @param {View} view
   * @returns {{pack: number, cell: number, x: number, y: number}}
   */
  function locate(n, sheets, view) {
    const side = 2 * n + 1;
    let pack = 0;
    let cell = 0;
    steps(view).forEach((step, axis) => {
      const block = sheets.block[axis];
      const number = Math.floor(index(n, step) / block);
      const length = Math.min(block, side - number * block);
      pack = pack * Math.ceil(side / block) + number;
      cell = cell * length + index(n, step) - number * block;
    });
    return { pack: pack, cell: cell, ...corner(cell, sheets) };
  }

  /** @param {number} cell @param {{columns: number, pitch: number}} sheet @returns {{x: number, y: number}} */
  function corner(cell, sheet) {
    return { x: (cell % sheet.columns) * sheet.pitch, y: Math.floor(cell / sheet.columns) * sheet.pitch };
  }

  /**
   * The thumbnail nearest to a node.
   * @param {number} n @param {Thumbs} thumbs @param {View} view
   * @returns {{cell: number, x: number, y: number}}
   */
  function nearestThumb(n, thumbs, view) {
    const reach = Math.floor(n / thumbs.stride);
    let cell = 0;
    for (const step of steps(view)) {
      const k = Math.min(reach, Math.max(-reach, Math.floor(step / thumbs.stride + 0.5)));
      cell = cell * (2 * reach + 1) + k + reach;
    }
    return { cell: cell, ...corner(cell, thumbs) };
  }

  /** @param {number} street @param {number} pack @param {string} hash 12 digits @returns {string} */
  function sheetFile(street, pack, hash) {
    return `a/${street}/sheet-${pack}.${hash}.jpg`;
  }

  /** @param {View} view @returns {boolean} whether this is the base itself */
  function isOriginal(view) {
    return steps(view).every((step) => step === 0);
  }

  /** @param {string} hash @returns {boolean} whether a fragment means a view at all; other fragments are anchors */
  function isLink(hash) {
    return hash.includes("=");
  }

  /** @param {View} view @param {string[]} names of streets @returns {string} the fragment that links to it */
  function link(view, names) {
    const parts = AXES.map((axis, a) => `${axis}=${steps(view)[a]}`);
    return `#street=${encodeURIComponent(names[view.street])}&${parts.join("&")}`;
  }

  /**
   * The view that a fragment names, or null if it cannot be shown. The inverse of `link`.
   * @param {string} hash @param {number} n @param {string[]} names @returns {View | null}
   */
  function readLink(hash, n, names) {
    /** @type {Map<string, string>} */
    const given = new Map();
    for (const part of hash.replace(/^#/, "").split("&")) {
      const at = part.indexOf("=");
      const key = part.slice(0, at);
      if (at < 0 || (key !== "street" && !AXES.includes(key))) continue;
      if (given.has(key)) return null;
      given.set(key, part.slice(at + 1));
    }
    const street = given.has("street") ? names.indexOf(decoded(given.get("street") || "")) : 0;
    const numbers = AXES.map((axis) => readStep(given.get(axis)));
    if (street < 0 || numbers.some((step) => Number.isNaN(step) || Math.abs(step) > n)) return null;
    return { street: street, health: numbers[0], income: numbers[1], education: numbers[2] };
  }

  /** @param {string | undefined} text @returns {number} an integer; 0 if absent; NaN if anything else */
  function readStep(text) {
    if (text === undefined) return 0;
    return STEP.test(text) ? Number(text) + 0 : NaN; // + 0 turns "-0" into 0
  }

  /** @param {string} text @returns {string} percent-decoded; "" if it cannot be, which names no street */
  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return "";
    }
  }

  /**
   * The next view. An axis that is none and a step that is no number change nothing.
   * @param {View} view @param {Change} change @param {number} n @returns {View}
   */
  function next(view, change, n) {
    switch (change.type) {
      case "step":
        if (!AXES.includes(change.axis) || Number.isNaN(change.step)) return view;
        return { ...view, [change.axis]: Math.min(n, Math.max(-n, Math.round(change.step))) };
      case "street":
        return { ...view, street: (((view.street + change.by) % change.of) + change.of) % change.of };
      case "reset":
        return { street: view.street, health: 0, income: 0, education: 0 };
      case "view":
        return change.view;
    }
  }

  /** @param {number} step @returns {string} what a step means */
  function stepWords(step) {
    if (step === 0) return "as in the original";
    const count = Math.abs(step) === 1 ? "1 step" : `${Math.abs(step)} steps`;
    return `${count} ${step < 0 ? "more" : "less"} deprived than the original`;
  }

  /** @param {number} step @returns {string} with a real minus sign, "+" and "0" */
  function signed(step) {
    return step > 0 ? `+${step}` : String(step).replace("-", "\u2212");
  }

  /** @param {View} view @param {string[]} names @returns {string} one sentence that says what is shown */
  function sentence(view, names) {
    const place = `Street ${view.street + 1} of ${names.length}`;
    if (isOriginal(view)) return `${place}, the original.`;
    return `${place}. ${AXES.map((axis, a) => `${capital(axis)}: ${stepWords(steps(view)[a])}`).join(". ")}.`;
  }

  /** @param {string} word @returns {string} */
  function capital(word) {
    return word.charAt(0).toUpperCase() + word.slice(1);
  }

  /**
   * How usual a node is: its byte in a street's script.
   * @param {string} typicality base64 @param {number} n @param {View} view @returns {number} 0 … 255
   */
  function typicalityByte(typicality, n, view) {
    const side = 2 * n + 1;
    const place = steps(view).reduce((sum, step) => sum * side + index(n, step), 0);
    return atob(typicality).charCodeAt(place);
  }

  /** @param {number} byte @returns {"usual" | "uncommon" | "rare" | "unknown"} */
  function typicalityWord(byte) {
    if (byte >= 64) return "usual";
    if (byte >= 13) return "uncommon";
    return byte >= 3 ? "rare" : "unknown";
  }

  /** @param {number} byte @returns {string} what that means */
  function typicalityWords(byte) {
    const farther = Math.round((byte / 255) * 100);
    const of100 = `${farther} of 100 pictures drawn at random lie farther from the network\u2019s average.`;
    switch (typicalityWord(byte)) {
      case "usual":
        return `A usual picture for this network: ${of100}`;
      case "uncommon":
        return `An uncommon picture for this network: ${of100}`;
      case "rare":
        return `A rare picture for this network: ${of100} Read it with caution.`;
      case "unknown":
        return "Beyond what this network knows: hardly any picture drawn at random lies this far out. Do not trust details.";
    }
  }

  return {
    AXES, corner, index, isLink, isOriginal, link, locate, nearestThumb, next, readLink, sentence, sheetFile, signed,
    stepWords, steps, typicalityByte, typicalityWord, typicalityWords,
  };
})();
