/* Sets the colours before anything is drawn, so that a dark page never flashes white. */
(function () {
  "use strict";
  var choice = "auto";
  try { choice = window.localStorage.getItem("dmarcview-colours") || "auto"; } catch (e) { /* storage is blocked */ }
  var dark = choice === "dark" || (choice !== "light" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  var scheme = dark ? "dark" : "light";
  document.documentElement.setAttribute("data-mantine-color-scheme", scheme);
  document.documentElement.setAttribute("data-ag-theme-mode", scheme);
})();
