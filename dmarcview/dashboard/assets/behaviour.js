/* What the pages do in the browser alone: colours, copy link, phone menus, closing the drawer, links inside grids. */
(function () {
  "use strict";
  var KEY = "dmarcview-colours";
  var WORDS = { auto: "System", light: "Light", dark: "Dark" };
  var NEXT = { auto: "light", light: "dark", dark: "auto" };
  var media = window.matchMedia("(prefers-color-scheme: dark)");
  var wasOpen = false;
  var kept = null; // the choice of this page view when storage is blocked

  function choice() {
    try { return window.localStorage.getItem(KEY) || kept || "auto"; } catch (e) { return kept || "auto"; }
  }
  function keep(value) {
    kept = value;
    try { window.localStorage.setItem(KEY, value); } catch (e) { /* kept for this page view only */ }
  }
  function resolved() {
    var now = choice();
    return now === "auto" ? (media.matches ? "dark" : "light") : now;
  }
  function paint() {
    var scheme = resolved();
    document.documentElement.setAttribute("data-mantine-color-scheme", scheme);
    document.documentElement.setAttribute("data-ag-theme-mode", scheme);
    return scheme;
  }
  function go(address) {
    window.history.pushState({}, "", address);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
  }
  media.addEventListener("change", function () {
    if (choice() === "auto" && window.dash_clientside) {
      window.dash_clientside.set_props("scheme", { data: paint() });
    }
  });
  function inside(event) {
    return !(event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    dmarcview: {
      colours: function (clicks) {
        if (clicks) { keep(NEXT[choice()]); }
        var scheme = paint();
        return [scheme, scheme, WORDS[choice()]];
      },
      menu: function (opened, shell) {
        return { width: 208, breakpoint: "sm", collapsed: { mobile: !opened } };
      },
      closeMenu: function () { return false; },
      filters: function (clicks) {
        return "filters" + (clicks % 2 ? " filters-open" : "");
      },
      copy: function (clicks) {
        if (!clicks) { return window.dash_clientside.no_update; }
        var address = window.location.href;
        var done = function (word) {
          var label = document.querySelector("#copy .wide");
          var button = document.getElementById("copy");
          if (label) { label.textContent = word; }
          button.setAttribute("aria-label", word);
          window.setTimeout(function () {
            if (label) { label.textContent = "Copy link"; }
            button.removeAttribute("aria-label");
          }, 1600);
        };
        if (navigator.clipboard) {
          navigator.clipboard.writeText(address).then(function () { done("Copied"); }, function () { done("Not allowed"); });
        } else { window.prompt("Copy this link", address); }
        return window.dash_clientside.no_update;
      },
      drawer: function (opened) {
        var address = new URL(window.location.href);
        var closed = wasOpen && opened === false; // the drawer also comes into the page closed
        wasOpen = opened === true;
        if (closed && address.searchParams.has("source")) {
          address.searchParams.delete("source");
          go(address.pathname + address.search.replace(/%7E/gi, "~").replace(/%3A/gi, ":"));
        }
        return window.dash_clientside.no_update;
      }
    }
  });

  /* Cells of the grids. Text goes in as children of React elements and is never read as HTML. */
  var cells = window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {};
  function el() { return window.React.createElement.apply(null, arguments); }

  cells.PassBar = function (props) {
    var value = props.value;
    if (value === null || value === undefined) { return el("span", { className: "muted" }, "–"); }
    var shown = props.data[props.colDef.field + "_shown"];
    return el("span", { className: "cell-bar", title: shown },
      el("span", { className: "bar" }, el("span", { className: "bar-fill", style: { width: value + "%" } })),
      el("span", { className: "bar-value" }, shown));
  };
  cells.InnerLink = function (props) {
    var href = props.data.href;
    return el("a", {
      href: href, className: "cell-link",
      onClick: function (event) { if (inside(event)) { event.preventDefault(); go(href); } }
    }, props.value || "–");
  };
  cells.ClassChip = function (props) {
    return el("span", { className: "chip chip-class-" + props.data.class_key }, props.value);
  };
  cells.StateChip = function (props) {
    return el("span", { className: "chip chip-" + (props.data.tone || "plain") }, props.value);
  };
})();
