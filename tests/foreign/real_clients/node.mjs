// Clients of Node. `node node.mjs CLIENT URLS LANES REQUESTS GAPS BODY`; the lanes, and what is
// printed, are described in trial.rs.

import http from 'node:http';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';

const STAGGER_MILLIS = 4;

const [name, urls, lanes, requests, gaps, body] = process.argv.slice(2);
const urlOf = urls.split(',');
const web = urls.startsWith('https:') ? https : http;

// Each connection would load all the authorities that Node knows, which takes longer than its handshake.
if (process.env.SSL_CERT_FILE) {
  const context = tls.createSecureContext({ ca: readFileSync(process.env.SSL_CERT_FILE) });
  tls.createSecureContext = () => context;
}
const gapsMillis = gaps.split(',').map(Number);

// A GET as a promise of the answer.
function get(url, agent) {
  return new Promise((resolve, reject) => {
    const request = web.get(url, { agent }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece) => { text += piece; });
      response.on('end', () => resolve({ status: response.statusCode, text }));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}

// undici is not a part of Node: `.ci/install` installs it below NODE_CLIENTS.
function undici() {
  return createRequire(`${process.env.NODE_CLIENTS}/`)('undici');
}

async function undiciGet(url, dispatcher) {
  const { statusCode, body } = await undici().request(url, { dispatcher });
  return { status: statusCode, text: await body.text() };
}

// Each returns the client of one lane: a function from a URL to the answer.
const clients = {
  // The process has one pool, so each lane needs its own URL.
  fetch: () => async (url) => {
    const response = await fetch(url);
    return { status: response.status, text: await response.text() };
  },
  'http.globalAgent': () => (url) => get(url, web.globalAgent),
  // The agent uses the hint only to shorten its own limit.
  'http.Agent with a timeout': () => {
    const agent = new web.Agent({ keepAlive: true, timeout: 60_000 });
    return (url) => get(url, agent);
  },
  'http.Agent without a timeout': () => {
    const agent = new web.Agent({ keepAlive: true });
    return (url) => get(url, agent);
  },
  'undici.Agent': () => {
    const agent = new (undici().Agent)();
    return (url) => undiciGet(url, agent);
  },
  'undici.Pool': () => {
    let pool;
    return (url) => undiciGet(url, pool ??= new (undici().Pool)(new URL(url).origin));
  },
};

let answered = 0;
let lost = 0;
let lateMillis = 0;
const errors = new Map();

async function ask(client, url) {
  try {
    const { status, text } = await client(url);
    if (status !== 200 || text !== body) throw new Error(`${status} ${text}`);
    answered += 1;
  } catch (error) {
    // The cause of an error of fetch has the details.
    const said = `${error.message} ${error.code ?? error.cause?.message ?? ''}`.trim();
    lost += 1;
    errors.set(said, (errors.get(said) ?? 0) + 1);
  }
}

async function lane(index) {
  const client = clients[name]();
  await sleep(index * STAGGER_MILLIS);
  for (let request = 0; request < requests; request += 1) {
    const gapMillis = request > 0 ? gapsMillis[(index + request) % gapsMillis.length] : 0;
    const dueMillis = performance.now() + gapMillis;
    await sleep(gapMillis);
    lateMillis = Math.max(lateMillis, performance.now() - dueMillis);
    await ask(client, urlOf[index % urlOf.length]);
  }
}

await Promise.all(Array.from({ length: Number(lanes) }, (_, index) => lane(index)));
const version = name.startsWith('undici')
  ? createRequire(`${process.env.NODE_CLIENTS}/`)('undici/package.json').version
  : `node ${process.version}${name === 'fetch' ? `, undici ${process.versions.undici}` : ''}`;
console.log(`version=${version}`);
for (const [text, count] of errors) console.log(`error=${count} ${text}`);
console.log(`late=${Math.floor(lateMillis)}`);
console.log(`answered=${answered} lost=${lost}`);
// Idle connections would keep the process alive.
process.exit(0);
