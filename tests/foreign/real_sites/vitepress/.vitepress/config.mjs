// Addresses without ".html", which the server must accept and not redirect.
export default {
  title: "Harbours",
  description: "A guide with addresses that have no suffix",
  cleanUrls: true,
  appearance: false,
  head: [["link", { rel: "icon", href: "/buoy.svg" }]],
  themeConfig: {
    nav: [
      { text: "Guide", link: "/guide/" },
      { text: "Tides", link: "/guide/tides" },
    ],
    sidebar: [
      { text: "Guide", link: "/guide/" },
      { text: "Tides", link: "/guide/tides" },
      { text: "Piers v2.0", link: "/guide/piers-v2.0" },
      { text: "About", link: "/about" },
    ],
    search: { provider: "local" },
  },
};
