// Files in place of data URLs, so that the server has something to do; source maps as many deploy them.
export default {
  build: {
    assetsInlineLimit: 0,
    sourcemap: true,
    rollupOptions: { input: ["index.html", "about/index.html"] },
  },
  logLevel: "warn",
};
