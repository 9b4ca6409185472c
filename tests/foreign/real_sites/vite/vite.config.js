// Files instead of data URLs, so that the server gets requests, and source maps, as many sites have them.
export default {
  build: {
    assetsInlineLimit: 0,
    sourcemap: true,
    rollupOptions: { input: ["index.html", "about/index.html"] },
  },
  logLevel: "warn",
};
