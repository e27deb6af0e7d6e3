// One page that a relay embeds: fixed names, so that a new build changes as few files as possible, and libraries apart
// from our own code for the same reason. The same sources give the same bytes on every machine.

import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "dist",
    target: "es2022",
    modulePreload: false,
    sourcemap: false,
    cssCodeSplit: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      output: {
        entryFileNames: "app.js",
        chunkFileNames: "[name].js",
        assetFileNames: "style[extname]",
        manualChunks: (id: string) => (id.includes("/node_modules/") ? "vendor" : undefined),
      },
    },
  },
});
