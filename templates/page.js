// @ts-check
/**
 * The page as a function of its view: one view, changed by `go`, drawn by `render`. The view is in the address, so that
 * whatever is seen can be linked. Controls are the page's own HTML; listeners hold no logic.
 */
(function () {
  "use strict";

  const G = AtlasGrid;
  const PATIENCE = 60; // ms that an old picture may stay before a thumbnail takes its place
  const KEPT = 24; // decoded sheets and thumbnails in memory
  const QUIET = 400; // ms between two rewritings of the address; Safari allows 100 in 30 s

  const atlas = ATLAS.get("streets");
  const n = atlas.steps;
  /** @type {string[]} */
  const names = atlas.streets.map((/** @type {{name: string}} */ street) => street.name);

  const canvas = /** @type {HTMLCanvasElement} */ (element("canvas"));
  const still = /** @type {HTMLImageElement} */ (element("still"));
  const sliders = G.AXES.map((axis) => /** @type {HTMLInputElement} */ (element(axis)));
  const outputs = G.AXES.map((axis) => /** @type {HTMLOutputElement} */ (element(`${axis}-value`)));
  const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const pictures = AtlasPictures.create({ limit: KEPT, arrived: paint, failed: missing });

  /** @type {View} */
  let view = { street: 0, health: 0, income: 0, education: 0 };
  let sheetWanted = { url: "", since: 0 };
  let scriptWanted = "";
  let keyShown = 0;
  let addressTimer = 0;

  /** @param {string} id @returns {HTMLElement} */
  function element(id) {
    const found = document.getElementById(id);
    if (!found) throw new Error(`the page has no #${id}`);
    return found;
  }

  /**
   * Change the view and draw it.
   * @param {Change} change
   * @param {"replace" | "push" | "keep"} address  rewrite it, leave the old one to the Back button, or leave it alone
   */
  function go(change, address) {
    clearTimeout(addressTimer);
    view = G.next(view, change, n);
    if (address === "push") history.pushState(null, "", G.link(view, names));
    if (address === "replace") addressTimer = setTimeout(rewriteAddress, QUIET);
    render();
  }

  function rewriteAddress() {
    history.replaceState(null, "", G.link(view, names));
  }

  /** Take the view from the address; say so if it names none. */
  function goToAddress() {
    if (location.hash && !G.isLink(location.hash)) return render(); // an ordinary anchor
    const first = { street: 0, health: 0, income: 0, education: 0 };
    const linked = location.hash ? G.readLink(location.hash, n, names) : first;
    go({ type: "view", view: linked || first }, linked ? "keep" : "replace");
    if (!linked) say("That link names no picture of this atlas. This is the first street, the original.");
    else if (location.hash) sayView();
  }

  function render() {
    G.AXES.forEach((axis, a) => {
      const step = G.steps(view)[a];
      sliders[a].value = String(step);
      sliders[a].setAttribute("aria-valuetext", G.stepWords(step));
      outputs[a].textContent = step === 0 ? "original" : `${G.signed(step)} ${step < 0 ? "more" : "less"} deprived`;
      outputs[a].dataset.end = step === 0 ? "none" : step < 0 ? "more" : "less";
    });
    element("street-number").textContent = String(view.street + 1);
    element("street-name").textContent = names[view.street];
    /** @type {HTMLButtonElement} */ (element("reset")).disabled = G.isOriginal(view);
    document.querySelectorAll("[data-street]").forEach((link) => {
      if (link.getAttribute("data-street") === names[view.street]) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
    paint();
  }

  /** Draw the best picture of the view that is at hand, and ask for better ones. The old one stays until then. */
  function paint() {
    const street = atlas.streets[view.street];
    const data = ATLAS.get(`street ${view.street}`);
    if (!data && scriptWanted !== street.script) {
      scriptWanted = street.script;
      ATLAS.load(`street ${view.street}`, street.script).then(paint, missing).then(() => (scriptWanted = ""));
    }
    const place = G.locate(n, atlas.layout.sheets, view);
    const sheet = data ? G.sheetFile(view.street, place.pack, data.sheets[place.pack]) : "";
    if (sheet && sheet !== sheetWanted.url) sheetWanted = { url: sheet, since: performance.now() };
    ask(street, sheet);
    drawBest(street, sheet, place);
    showTypicality(data);
    showKey(street);
  }

  /**
   * What is wanted, the most urgent first. Over a slow line the thumbnails should not have to share it with a sheet
   * that the original does not need yet.
   * @param {any} street @param {string} sheet "" while it is not known
   */
  function ask(street, sheet) {
    const original = G.isOriginal(view);
    const early = original ? [street.original, street.thumbs] : [street.thumbs];
    const ready = !original || pictures.get(street.thumbs);
    pictures.want([...early, ...(ready && sheet ? [sheet] : []), street.key]);
  }

  /** @param {any} street @param {string} sheet @param {{x: number, y: number}} place */
  function drawBest(street, sheet, place) {
    const sharp = sheet ? pictures.get(sheet) : null;
    if (sharp) return draw(sharp, place.x, place.y, atlas.size, true);
    const original = G.isOriginal(view) ? pictures.get(street.original) : null;
    if (original) return draw(original, 0, 0, atlas.size, true);
    const waited = performance.now() - sheetWanted.since;
    if (sheet && waited < PATIENCE) {
      setTimeout(paint, PATIENCE - waited + 1);
      return;
    }
    const thumbs = pictures.get(street.thumbs);
    if (!thumbs) return;
    const thumb = G.nearestThumb(n, atlas.layout.thumbs, view);
    draw(thumbs, thumb.x, thumb.y, atlas.layout.thumbs.size, false);
  }

  /** @param {CanvasImageSource} picture @param {number} x @param {number} y @param {number} size @param {boolean} sharp */
  function draw(picture, x, y, size, sharp) {
    const shown = G.link(view, names);
    if (canvas.dataset.view === shown && (canvas.dataset.sharp === "true" || !sharp)) return;
    brush.imageSmoothingQuality = "high";
    brush.drawImage(picture, x, y, size, size, 0, 0, canvas.width, canvas.height);
    canvas.dataset.view = shown;
    canvas.dataset.sharp = String(sharp);
    canvas.setAttribute("aria-label", `A picture made by a neural network. ${G.sentence(view, names)}`);
    canvas.hidden = false;
    still.hidden = true;
  }

  /** @param {{typicality: string} | undefined} data */
  function showTypicality(data) {
    if (!data) return;
    const byte = G.typicalityByte(data.typicality, n, view);
    const words = element("typicality");
    words.textContent = G.typicalityWords(byte);
    words.dataset.word = G.typicalityWord(byte);
  }

  /** Let the table of one image under three dimensions follow the street. @param {any} street */
  function showKey(street) {
    if (keyShown === view.street || !pictures.get(street.key)) return;
    keyShown = view.street;
    document.querySelectorAll("#matrix image").forEach((image) => image.setAttribute("href", street.key));
    document.querySelectorAll("#matrix a").forEach((link) => {
      const linked = G.readLink(link.getAttribute("href") || "", n, names);
      if (linked) link.setAttribute("href", G.link({ ...linked, street: keyShown }, names));
    });
    element("matrix-street").textContent = String(keyShown + 1);
  }

  function missing() {
    say("A picture did not arrive. Move a slider to try again.");
  }

  /** @param {string} words for the live region: what is shown, once a change is over */
  function say(words) {
    element("status").textContent = words;
  }

  function sayView() {
    say(G.sentence(view, names));
  }

  sliders.forEach((slider, a) => {
    const axis = G.AXES[a];
    slider.addEventListener("input", () => go({ type: "step", axis: axis, step: slider.valueAsNumber }, "replace"));
    slider.addEventListener("change", sayView);
  });
  element("change-street").addEventListener("click", () => {
    go({ type: "street", by: 1, of: names.length }, "push");
    sayView();
  });
  element("reset").addEventListener("click", () => {
    go({ type: "reset" }, "replace");
    sayView();
  });
  window.addEventListener("popstate", goToAddress);
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[href^='#street=']");
    if (link) element("picture").scrollIntoView({ block: "nearest" });
  });

  goToAddress();
})();
