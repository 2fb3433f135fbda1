"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./spec.cjs");

/** A cache whose pictures arrive when the test says so. */
function bench(limit = 3) {
  const jobs = new Map();
  const log = [];
  const { AtlasPictures } = load(["pictures.js"]);
  const pictures = AtlasPictures.create({
    limit,
    arrived: (url) => log.push(`arrived ${url}`),
    failed: (url) => log.push(`failed ${url}`),
    loader(url) {
      log.push(`load ${url}`);
      const job = { stop: () => log.push(`stop ${url}`) };
      job.promise = new Promise((resolve, reject) => Object.assign(job, { resolve, reject }));
      jobs.set(url, job);
      return job;
    },
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { pictures, jobs, log, settle };
}

test("a picture arrives once and is kept", async () => {
  const { pictures, jobs, log, settle } = bench();
  pictures.want(["a"]);
  pictures.want(["a"]);
  assert.equal(pictures.get("a"), null);
  jobs.get("a").resolve("A");
  await settle();
  assert.equal(pictures.get("a"), "A");
  pictures.want(["a"]);
  assert.deepEqual(log, ["load a", "arrived a"]);
});

test("the newest request wins: what is no longer wanted is stopped and never arrives", async () => {
  const { pictures, jobs, log, settle } = bench();
  pictures.want(["a", "t"]);
  pictures.want(["b", "t"]);
  jobs.get("a").resolve("A");
  jobs.get("b").resolve("B");
  await settle();
  assert.deepEqual(log, ["load a", "load t", "stop a", "load b", "arrived b"]);
  assert.equal(pictures.get("a"), null);
});

test("a stopped picture that is wanted again is loaded anew", async () => {
  const { pictures, jobs, log, settle } = bench();
  pictures.want(["a"]);
  const first = jobs.get("a");
  pictures.want([]);
  pictures.want(["a"]);
  first.reject(new Error("stopped"));
  await settle();
  jobs.get("a").resolve("A");
  await settle();
  assert.deepEqual(log, ["load a", "stop a", "load a", "arrived a"]);
});

test("a failure is told, and may be tried again", async () => {
  const { pictures, jobs, log, settle } = bench();
  pictures.want(["a"]);
  jobs.get("a").reject(new Error("404"));
  await settle();
  pictures.want(["a"]);
  assert.deepEqual(log, ["load a", "failed a", "load a"]);
});

test("only so many are kept, the least recently used goes first", async () => {
  const { pictures, jobs, settle } = bench(2);
  for (const url of ["a", "b", "c"]) {
    pictures.want([url]);
    jobs.get(url).resolve(url);
    await settle();
    pictures.get("a");
  }
  assert.equal(pictures.get("a"), "a");
  assert.equal(pictures.get("b"), null);
  assert.equal(pictures.get("c"), "c");
});

/** A document whose scripts run when the test says so. */
function store() {
  const scripts = [];
  const document = { createElement: () => ({}), head: { append: (script) => scripts.push(script) } };
  return { ATLAS: load(["pictures.js"], { document }).ATLAS, scripts };
}

test("a data script runs once, whoever asks", async () => {
  const { ATLAS, scripts } = store();
  const both = Promise.all([ATLAS.load("street 0", "a.js"), ATLAS.load("street 0", "a.js")]);
  assert.equal(scripts.length, 1);
  ATLAS.put("street 0", 7);
  scripts[0].onload();
  assert.deepEqual(await both, [7, 7]);
  assert.equal(await ATLAS.load("street 0", "a.js"), 7);
  assert.equal(scripts.length, 1);
});

test("a data script that fails, or puts nothing, may be asked for again", async () => {
  const { ATLAS, scripts } = store();
  const failed = ATLAS.load("street 0", "a.js");
  scripts[0].onerror();
  await assert.rejects(failed, /did not load/);
  const empty = ATLAS.load("street 0", "a.js");
  scripts[1].onload();
  await assert.rejects(empty, /put no street 0/);
  assert.equal(ATLAS.get("street 0"), undefined);
});
