// @ts-check
/**
 * Getting files and keeping pictures. Two small objects that know neither the page nor the grid:
 * `ATLAS`, where data scripts put their values (a page opened from disk cannot fetch), and `AtlasPictures`, a cache of
 * decoded images in which what nobody waits for any longer is given up. What loads is handed in, so that tests can do
 * without a browser.
 */
var ATLAS = (function () {
  "use strict";

  /** @type {Map<string, any>} */
  const values = new Map();
  /** @type {Map<string, Promise<any>>} */
  const asked = new Map();

  /** Called by data scripts. @param {string} key @param {any} value */
  function put(key, value) {
    values.set(key, value);
  }

  /** @param {string} key @returns {any} the value, or undefined if its script has not run yet */
  function get(key) {
    return values.get(key);
  }

  /**
   * Run the data script at `file`; a script that failed may be asked for again.
   * @param {string} key @param {string} file @returns {Promise<any>} the value that it puts under `key`
   */
  function load(key, file) {
    if (values.has(key)) return Promise.resolve(values.get(key));
    let promise = asked.get(key);
    if (!promise) {
      promise = new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = file;
        script.onload = () => (values.has(key) ? resolve(values.get(key)) : reject(new Error(`${file} put no ${key}`)));
        script.onerror = () => reject(new Error(`${file} did not load`));
        document.head.append(script);
      });
      promise.catch(() => asked.delete(key));
      asked.set(key, promise);
    }
    return promise;
  }

  return { put, get, load };
})();

var AtlasPictures = (function () {
  "use strict";

  /**
   * Begin to load an image and decode it.
   * @param {string} url @returns {{promise: Promise<HTMLImageElement>, stop: () => void}}
   */
  function browserLoader(url) {
    const image = new Image();
    image.decoding = "async";
    image.src = url;
    return {
      promise: image.decode().then(() => image),
      stop: () => image.removeAttribute("src"),
    };
  }

  /**
   * A cache of decoded pictures.
   * @param {{
   *   limit: number,
   *   arrived: (url: string) => void,
   *   failed: (url: string) => void,
   *   loader?: (url: string) => {promise: Promise<any>, stop: () => void},
   * }} options  limit: how many pictures are kept; arrived and failed: told about each
   */
  function create(options) {
    const loader = options.loader || browserLoader;
    /** @type {Map<string, any>} decoded, the least recently used first */
    const decoded = new Map();
    /** @type {Map<string, {stop: () => void}>} */
    const coming = new Map();

    /** @param {string} url @returns {any} the decoded picture, or null */
    function get(url) {
      const picture = decoded.get(url);
      if (picture === undefined) return null;
      decoded.delete(url);
      decoded.set(url, picture);
      return picture;
    }

    /** Say which pictures are wanted now, the most urgent first. Others that are still coming are stopped. @param {string[]} urls */
    function want(urls) {
      for (const [url, job] of coming) {
        if (urls.includes(url)) continue;
        coming.delete(url);
        job.stop();
      }
      for (const url of urls) if (!decoded.has(url) && !coming.has(url)) begin(url);
    }

    /** @param {string} url */
    function begin(url) {
      const job = loader(url);
      coming.set(url, job);
      job.promise.then(
        (picture) => {
          if (coming.get(url) !== job) return; // given up, or asked for anew
          coming.delete(url);
          keep(url, picture);
          options.arrived(url);
        },
        () => {
          if (coming.get(url) !== job) return;
          coming.delete(url);
          options.failed(url);
        },
      );
    }

    /** @param {string} url @param {any} picture */
    function keep(url, picture) {
      decoded.set(url, picture);
      for (const oldest of decoded.keys()) {
        if (decoded.size <= options.limit) break;
        decoded.delete(oldest);
      }
    }

    return { get, want };
  }

  return { create };
})();
