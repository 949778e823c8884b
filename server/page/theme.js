// Chooses light or dark before the first paint. Not a module: those run after it.

(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const follow = () => { root.dataset.theme = kept() ?? (system.matches ? "dark" : "light"); };
  follow();
  system.addEventListener("change", follow);
})();
