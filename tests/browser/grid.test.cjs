"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { rows, load, plain } = require("./spec.cjs");

const G = load(["grid.js"]).AtlasGrid;
const STREETS = ["seed 12", "b&b=ü", "3"];
const ORIGIN = { street: 0, health: 0, income: 0, education: 0 };

/** The numbers of a row. */
function numbers(row, ...names) {
  return names.map((name) => Number(row[name]));
}

function viewOf(row) {
  const [health, income, education] = numbers(row, "health", "income", "education");
  return { street: Number(row.street || 0), health, income, education };
}

test("steps", () => {
  for (const row of rows("steps")) {
    const [n, step, index] = numbers(row, "n", "step", "index");
    assert.equal(G.index(n, step), index);
  }
});

test("node to pack, cell and pixel", () => {
  for (const row of rows("packs")) {
    const [n, columns, pitch, pack, cell, x, y] = numbers(row, "n", "columns", "pitch", "pack", "cell", "x", "y");
    const sheets = { block: row.block.split(" ").map(Number), columns, pitch };
    assert.deepEqual(plain(G.locate(n, sheets, viewOf(row))), { pack, cell, x, y });
  }
});

test("every node has its own cell", () => {
  for (const [n, block] of [[2, [2, 3, 5]], [3, [4, 1, 7]], [1, [3, 3, 3]]]) {
    const seen = new Set();
    for (let health = -n; health <= n; health++)
      for (let income = -n; income <= n; income++)
        for (let education = -n; education <= n; education++) {
          const place = G.locate(n, { block, columns: 4, pitch: 16 }, { street: 0, health, income, education });
          seen.add(`${place.pack} ${place.x} ${place.y}`);
        }
    assert.equal(seen.size, (2 * n + 1) ** 3);
  }
});

test("thumbnails", () => {
  for (const row of rows("thumbs")) {
    const [n, stride, cell] = numbers(row, "n", "stride", "cell");
    const across = 2 * Math.floor(n / stride) + 1;
    const columns = Math.ceil(Math.sqrt(across ** 3));
    const found = G.nearestThumb(n, { stride, size: 16, columns, pitch: 16 }, viewOf(row));
    assert.equal(found.cell, cell);
    assert.equal((found.y / 16) * columns + found.x / 16, cell);
  }
});

test("names of sheets", () => {
  for (const row of rows("names").filter((row) => row.what.startsWith("sheet"))) {
    assert.equal(G.sheetFile(Number(row.base), Number(row.what.split("-")[1]), row.sha256.slice(0, 12)), row.file);
  }
});

test("links, there and back", () => {
  for (const row of rows("links; streets")) {
    assert.equal(G.link(viewOf(row), STREETS), row.hash);
    assert.deepEqual(plain(G.readLink(row.hash, 5, STREETS)), viewOf(row));
  }
  for (const row of rows("links read only")) assert.deepEqual(plain(G.readLink(row.hash, 5, STREETS)), viewOf(row));
});

test("every view survives its link", () => {
  for (let street = 0; street < STREETS.length; street++)
    for (const step of [-5, -1, 0, 1, 5]) {
      const view = { street, health: step, income: -step + 0, education: 2 };
      assert.deepEqual(plain(G.readLink(G.link(view, STREETS), 5, STREETS)), view);
    }
});

test("links that name nothing", () => {
  for (const row of rows("links refused")) assert.equal(G.readLink(row.hash, 5, STREETS), null, row.hash);
});

test("an anchor is no link", () => {
  assert.equal(G.isLink("#picture"), false);
  assert.equal(G.isLink(""), false);
  assert.equal(G.isLink("#street=3"), true);
});

test("minus nought is nought", () => {
  assert.ok(Object.is(G.readLink("#health=-0", 5, STREETS).health, 0));
});

test("steps in words", () => {
  for (const row of rows("words")) assert.equal(G.stepWords(Number(row.step)), row.words);
  assert.equal(G.signed(-3), "\u22123");
  assert.equal(G.signed(3), "+3");
  assert.equal(G.signed(0), "0");
});

test("a view in one sentence", () => {
  assert.equal(G.sentence(ORIGIN, STREETS), "Street 1 of 3, the original.");
  assert.equal(
    G.sentence({ street: 1, health: -1, income: 0, education: 2 }, STREETS),
    "Street 2 of 3. Health: 1 step more deprived than the original. Income: as in the original. " +
      "Education: 2 steps less deprived than the original.",
  );
});

test("typicality", () => {
  for (const row of rows("typicality")) assert.equal(G.typicalityWord(Number(row.byte)), row.word);
  const bytes = Uint8Array.from({ length: 27 }, (_, k) => k * 9);
  const typicality = Buffer.from(bytes).toString("base64");
  assert.equal(G.typicalityByte(typicality, 1, ORIGIN), 13 * 9);
  assert.equal(G.typicalityByte(typicality, 1, { street: 0, health: -1, income: -1, education: 1 }), 2 * 9);
  assert.match(G.typicalityWords(255), /usual.*100 of 100/);
  assert.match(G.typicalityWords(0), /Beyond what this network knows/);
});

test("transitions", () => {
  const view = { street: 2, health: 1, income: -2, education: 3 };
  const next = (change) => plain(G.next(view, change, 5));
  assert.deepEqual(next({ type: "step", axis: "income", step: 4 }), { ...view, income: 4 });
  assert.deepEqual(next({ type: "step", axis: "income", step: 99 }), { ...view, income: 5 });
  assert.deepEqual(next({ type: "step", axis: "income", step: -99 }), { ...view, income: -5 });
  assert.deepEqual(next({ type: "step", axis: "income", step: NaN }), view);
  assert.deepEqual(next({ type: "step", axis: "crime", step: 1 }), view);
  assert.deepEqual(next({ type: "street", by: 1, of: 3 }), { ...view, street: 0 });
  assert.deepEqual(next({ type: "street", by: -1, of: 3 }), { ...view, street: 1 });
  assert.deepEqual(next({ type: "reset" }), { street: 2, health: 0, income: 0, education: 0 });
  assert.deepEqual(next({ type: "view", view: ORIGIN }), ORIGIN);
  assert.deepEqual(view, { street: 2, health: 1, income: -2, education: 3 }); // untouched
});
