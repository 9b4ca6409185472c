// The page loads every kind of file about which browsers are strict: module scripts and workers by their
// media type, WebAssembly compiled while it streams in, fonts, JSON, a chunk that is loaded later.
import "@fontsource/inter/400.css";
import "leaflet/dist/leaflet.css";
import "./style.css";
import wasmUrl from "source-map/lib/mappings.wasm?url";
import Distances from "./distances.js?worker";

async function harbours() {
  const response = await fetch("/harbours.json");
  return response.json();
}

// Browsers refuse module workers too unless their media type is that of a script.
function farthest(places) {
  return new Promise((resolve, reject) => {
    const worker = new Distances();
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = reject;
    worker.postMessage(places);
  });
}

async function compiled() {
  // This refuses every type but application/wasm.
  const module = await WebAssembly.compileStreaming(fetch(wasmUrl));
  return WebAssembly.Module.exports(module).length > 0;
}

async function fontLoaded() {
  const faces = await document.fonts.load("16px Inter", "Harbours");
  return faces.length > 0 && faces.every((face) => face.status === "loaded");
}

// The test waits for this promise, and compares its value.
window.loaded = (async () => {
  const places = await harbours();
  const { draw } = await import("./chart.js");
  const [markers, pair, wasm, font] = await Promise.all([
    draw(document.getElementById("map"), places),
    farthest(places),
    compiled(),
    fontLoaded(),
  ]);
  return { markers, pair, wasm, font };
})();
