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

  /* New reports: ask for the version, and say so when nobody answers. After a silence everything is fetched anew. */
  var POLL_MS = 2000, SOON_MS = 250, PATIENCE_MS = 10000;
  var seen = null, silent = false, rounds = 0;
  function tell(id, props) { window.dash_clientside.set_props(id, props); }
  function anew() {
    rounds += 1;
    tell("fault", { hidden: true });
    tell("again", { data: rounds });
    tell("version", { data: seen + "+" + rounds });
    tell("sent-version", { data: poll.sent + "+" + rounds });
    tell("slow-version", { data: poll.slow + "+" + rounds });
    tell("alerts-version", { data: poll.alerts + "+" + rounds });
  }
  function state(word) {
    if (state.word === word) { return; }
    state.word = word;
    tell("live", { className: word ? "live live-off" : "live" });
    tell("live-word", { children: word || "Live" });
  }
  function poll() {
    var live = document.getElementById("live");
    if (!live || document.hidden) { window.setTimeout(poll, live ? POLL_MS : 200); return; }
    if (seen === null) { seen = live.dataset.version; poll.alerts = live.dataset.alerts; }
    var word = "Offline, retrying", stop = new AbortController();
    var timer = window.setTimeout(function () { stop.abort(); }, PATIENCE_MS);
    window.fetch(live.dataset.prefix + "version", { cache: "no-store", signal: stop.signal }).then(function (answer) {
      word = "Store not answering, retrying";
      if (!answer.ok) { throw new Error(word); }
      return answer.json();
    }).then(function (now) {
      var moved = now.version !== seen;
      seen = now.version;
      state(null);
      if (silent) { silent = false; anew(); } else if (moved) { tell("fault", { hidden: true }); tell("version", { data: seen }); }
      if (now.waiting !== poll.waiting) { poll.waiting = now.waiting; tell("waiting", { data: now.waiting }); }
      if (now.sent !== poll.sent) { poll.sent = now.sent; tell("sent-version", { data: now.sent }); }
      if (String(now.alerts) !== poll.alerts) { poll.alerts = String(now.alerts); tell("alerts-version", { data: now.alerts }); }
      if (now.slow !== poll.slow) { poll.slow = now.slow; tell("slow-version", { data: now.slow }); }
    }).catch(function () { silent = true; state(word); }).then(function () {
      window.clearTimeout(timer);
      rest(POLL_MS);
    });
  }
  function rest(left) { // a page that waits for an answer is told of it at once
    window.setTimeout(function () {
      if (left > SOON_MS && !document.querySelector(".awaited")) { rest(left - SOON_MS); } else { poll(); }
    }, SOON_MS);
  }
  document.addEventListener("DOMContentLoaded", function () { window.setTimeout(poll, POLL_MS); });

  /* The buttons of cards, which may be drawn anew while the answer to one is on its way. */
  var presses = 0;
  document.addEventListener("click", function (event) {
    var button = event.target.closest && event.target.closest("[data-press]");
    if (!button) { return; }
    presses += 1;
    tell("incident-press", { data: { do: button.dataset.press, id: button.dataset.incident, n: presses } });
  });

  function inside(event) {
    return !(event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  }

  function put(text, id, words) {
    var button = document.getElementById(id);
    var label = button.querySelector(".wide");
    var done = function (word) {
      if (label) { label.textContent = word; }
      button.setAttribute("aria-label", word);
      window.setTimeout(function () {
        if (label) { label.textContent = words; }
        button.removeAttribute("aria-label");
      }, 1600);
    };
    if (navigator.clipboard) {
      navigator.clipboard.writeText(text).then(function () { done("Copied"); }, function () { done("Not allowed"); });
    } else { window.prompt(words, text); }
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
        if (clicks) { put(window.location.href, "copy", "Copy link"); }
        return window.dash_clientside.no_update;
      },
      copyCode: function (clicks, code) {
        if (clicks && code) { put(code, "copy-code", "Copy for a notebook"); }
        return window.dash_clientside.no_update;
      },
      retry: function (clicks) {
        if (clicks) { anew(); }
        return window.dash_clientside.no_update;
      },
      drawer: function (opened) {
        var address = new URL(window.location.href);
        var closed = wasOpen && opened === false; // the drawer also comes into the page closed
        wasOpen = opened === true;
        var open = ["source", "row", "incident"].filter(function (name) { return address.searchParams.has(name); });
        if (closed && open.length) {
          open.forEach(function (name) { address.searchParams.delete(name); });
          go(address.pathname + address.search.replace(/%7E/gi, "~").replace(/%3A/gi, ":"));
        }
        return window.dash_clientside.no_update;
      }
    }
  });

  /* Trees folded by plain.py, `[tag, attributes, children...]`. Text stays text; nothing in them runs. */
  function draw(node) {
    if (typeof node === "string") { return node; }
    var props = node[1] || {}, children = node.slice(2).map(draw);
    if (props.inside) {
      props = Object.assign({}, props, { onClick: function (event) {
        if (inside(event)) { event.preventDefault(); go(props.href); }
      } });
      delete props.inside;
    }
    return el.apply(null, [node[0] || window.React.Fragment, node[0] ? props : null].concat(children));
  }
  window.dmarcview = { Plain: function (props) { return draw(props.tree); } };

  /* Cells of the grids. Text goes in as children of React elements and is never read as HTML. */
  var cells = window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {};
  function el() { return window.React.createElement.apply(null, arguments); }

  cells.PassBar = function (props) {
    var value = props.value;
    if (value === null || value === undefined) { return el("span", { className: "muted" }, "–"); }
    var shown = props.data[props.colDef.field + "_shown"];
    var soft = props.colDef.field === "dmarc" ? "" : " cell-soft"; // only a DMARC failure is a failure
    return el("span", { className: "cell-bar" + soft, title: shown },
      el("span", { className: "bar" }, el("span", { className: "bar-fill", style: { width: value + "%" } })),
      el("span", { className: "bar-value" }, shown));
  };
  cells.InnerLink = function (props) {
    var href = props.data.href;
    return el("span", { className: "cell-two" },
      el("a", {
        href: href, className: "cell-link",
        onClick: function (event) { if (inside(event)) { event.preventDefault(); go(href); } }
      }, props.value || "–"),
      props.data.below ? el("span", { className: "cell-below" }, props.data.below) : null);
  };
  cells.ClassChip = function (props) {
    return el("span", { className: "chip chip-class-" + props.data.class_key }, props.value);
  };
  cells.StateChip = function (props) {
    return el("span", { className: "chip chip-" + (props.data.tone || "plain") }, props.value);
  };
})();
