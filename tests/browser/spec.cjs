// The worked rows of atlas/SPEC.md, and the page's scripts loaded as a browser loads them: as classic scripts.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const ROOT = path.resolve(__dirname, "..", "..");
const SPEC = fs.readFileSync(path.join(ROOT, "atlas", "SPEC.md"), "utf-8");

/** The rows of the table that follows `<!-- rows: NAME`, each an object of text. */
function rows(name) {
  const at = SPEC.indexOf(`<!-- rows: ${name}`);
  if (at < 0) throw new Error(`SPEC.md has no rows ${name}`);
  const lines = SPEC.slice(at).match(/\n((?:\|.*\n)+)/)[1].trim().split("\n");
  const cells = lines.map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
  return cells.slice(2).map((row) => Object.fromEntries(row.map((cell, k) => [cells[0][k], cell])));
}

/** Run the named scripts of templates/ in a fresh global scope and return it. */
function load(scripts, globals = {}) {
  const scope = vm.createContext({ atob, Promise, Map, ...globals });
  for (const script of scripts) vm.runInContext(fs.readFileSync(path.join(ROOT, "templates", script), "utf-8"), scope);
  return scope;
}

/** Values made in another scope, as plain ones of this scope, so that deepEqual sees no foreign prototypes. */
function plain(value) {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

module.exports = { rows, load, plain };
