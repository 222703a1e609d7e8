"use strict";
// Draws the graph, lists its objects, and lets one look around in both. All that is shown comes from the element #data.
(() => {
  const LISTED = 300; // more lines at once make the page slow; the rest comes when it is scrolled to
  const GROUPED = 50;
  const MANY = 2000; // from here on the drawing is simpler while it moves
  const READABLE = 0.8;
  const LARGEST = 1.3;
  const FAR = 400;
  const { words, graphs, units } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const place = (object) => (object.namespace ? `${object.namespace}/${object.name}` : object.name);
  const isReport = document.body.classList.contains("report");
  const unitOf = new Map(units.map((unit) => [unit.scope, unit]));

  // An object of a rolling move has gone when all units that it belongs to have.
  const tenseOf = (object, { scope, tense, graph }) => {
    if (!graph.units.length || tense === "planned") return tense;
    const own = object.units ? object.units.map((number) => graph.units[number]) : [scope];
    const known = own.filter((one) => unitOf.has(one));
    const deciding = known.length ? known.map((one) => unitOf.get(one)) : units;
    return deciding.every((unit) => unit.tense === "done") ? "done" : "not-done";
  };

  // Several namespaces are drawn below each other.
  const objects = [];
  const edges = [];
  let bottom = 0;
  for (const one of graphs) {
    const first = objects.length;
    const top = bottom;
    for (const object of one.graph.objects) {
      const own = (object.units ?? []).map((number) => one.graph.units[number]);
      objects.push({ ...object, y: object.y + top, units: own, tense: tenseOf(object, one) });
      bottom = Math.max(bottom, object.y + top + 100);
    }
    edges.push(...one.graph.edges.map(([owner, dependent, hard]) => [owner + first, dependent + first, hard]));
  }
  const fateOf = (object) => words[object.tense][object.fate];
  const above = objects.map(() => []);
  const below = objects.map(() => []);
  edges.forEach(([owner, dependent], number) => {
    above[dependent].push([owner, number]);
    below[owner].push([dependent, number]);
  });

  const element = (tag, text, attributes = {}, children = []) => {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const chooser = (number) =>
    element("button", `${objects[number].kind} ${place(objects[number])}`, { type: "button", class: "link", "data-number": number });

  if (isReport) showWhatStays();
  if (!objects.length) {
    byId("explorer").remove();
    byId("counts").textContent = "There are no objects to show.";
    return;
  }

  // --- the drawing ---------------------------------------------------------------------------------------------

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const isMany = objects.length > MANY;
  const styles = () => [
    {
      selector: "node",
      style: {
        width: 14, height: 14, label: "data(label)", "font-size": 11, "text-halign": "right", "text-valign": "center",
        "text-margin-x": 5, "font-family": "system-ui, sans-serif", color: color("text"),
        "text-background-color": color("page"), "text-background-opacity": isMany ? 0 : 0.8, "background-color": color("leave"), "min-zoomed-font-size": 5,
      },
    },
    { selector: "node.move", style: { "background-color": color("move") } },
    { selector: "node.keep", style: { "background-color": color("keep"), shape: "diamond" } },
    { selector: "node.leave", style: { shape: "rectangle" } },
    {
      selector: "edge",
      style: isMany
        ? { width: 1, "line-color": color("edge"), "curve-style": "haystack", "haystack-radius": 0 }
        : { width: 1, "line-color": color("edge"), "curve-style": "taxi", "taxi-direction": "rightward", "taxi-turn": 12 },
    },
    { selector: "edge.soft", style: { "line-style": "dashed" } },
    { selector: "edge.far", style: { "curve-style": isMany ? "haystack" : "straight", opacity: 0.4 } },
    { selector: ".faint", style: { opacity: 0.15 } },
    { selector: "edge.near", style: { width: 2, "line-color": color("quiet") } },
    { selector: "edge.path", style: { width: 3, "line-color": color("chosen"), opacity: 1 } },
    { selector: "node.path", style: { "border-width": 2, "border-color": color("chosen") } },
    { selector: "node.chosen", style: { "border-width": 4, "border-color": color("chosen"), "min-zoomed-font-size": 0 } },
  ];
  // A line along the rows would run through the names of others if its ends are not where the tree has them.
  const isFar = (owner, dependent) => dependent.y <= owner.y || dependent.x <= owner.x || dependent.x > owner.x + FAR;
  const graph = cytoscape({
    container: byId("graph"),
    elements: {
      nodes: objects.map((object, number) => ({
        data: { id: `n${number}`, label: `${object.kind} ${object.name}` },
        position: { x: object.x, y: object.y },
        classes: object.fate,
      })),
      edges: edges.map(([owner, dependent, hard], number) => ({
        data: { id: `e${number}`, source: `n${owner}`, target: `n${dependent}` },
        classes: `${hard ? "" : "soft"} ${isFar(objects[owner], objects[dependent]) ? "far" : ""}`,
      })),
    },
    layout: { name: "preset", padding: 30 },
    style: styles(),
    autoungrabify: true,
    hideEdgesOnViewport: isMany,
    textureOnViewport: isMany,
    minZoom: 0.005,
    maxZoom: 3,
  });
  const nodes = graph.nodes().toArray();
  const lines = graph.edges().toArray();
  const faint = objects.map(() => false);
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  const go = (number) => {
    const target = { center: { eles: nodes[number] }, zoom: Math.max(graph.zoom(), READABLE) };
    graph.stop();
    graph.animate({ ...target, duration: still.matches ? 0 : 200 });
  };
  const zoom = (factor) => graph.zoom({
    level: graph.zoom() * factor,
    renderedPosition: { x: graph.width() / 2, y: graph.height() / 2 },
  });
  const whole = () => graph.fit(undefined, 30);

  const mark = (number) => {
    graph.batch(() => {
      graph.elements(".chosen, .path, .near").removeClass("chosen path near");
      if (number < 0) return;
      nodes[number].addClass("chosen");
      for (const [, edge] of below[number]) lines[edge].addClass("near");
      const seen = new Set([number]);
      for (const step of seen) {
        for (const [owner, edge] of above[step]) {
          lines[edge].addClass("path");
          nodes[owner].addClass("path");
          seen.add(owner);
        }
      }
    });
  };

  // --- the list ------------------------------------------------------------------------------------------------

  const list = byId("objects");
  let found = []; // the numbers of the objects that match
  let active = 0; // the place in `found` that the keyboard is at
  let chosen = -1; // the number of the object that is shown

  const wanted = () => {
    const text = byId("search").value.trim().toLowerCase();
    const kind = byId("kind").value;
    const unit = byId("unit").value;
    const fates = new Set([...document.querySelectorAll("[name=fate]:checked")].map((box) => box.value));
    return objects.map((object) =>
      fates.has(object.fate) && (!kind || object.kind === kind) && (!unit || object.units.includes(unit))
      && `${object.kind} ${place(object)}`.toLowerCase().includes(text));
  };

  const line = (number) => {
    const object = objects[number];
    const attributes = { role: "option", id: `o${number}`, "data-fate": object.fate, "aria-selected": number === chosen };
    return element("li", place(object), attributes, [element("small", `${object.kind}, ${fateOf(object)}`)]);
  };
  const listMore = () => {
    const listed = list.childElementCount;
    list.append(...found.slice(listed, listed + LISTED).map(line));
  };
  const activate = (index) => {
    active = Math.max(0, Math.min(index, found.length - 1));
    while (list.childElementCount <= active && list.childElementCount < found.length) listMore();
    list.querySelector(".active")?.classList.remove("active");
    const item = list.children[active];
    if (!item) return list.removeAttribute("aria-activedescendant");
    item.classList.add("active");
    item.scrollIntoView({ block: "nearest" });
    return list.setAttribute("aria-activedescendant", item.id);
  };

  const show = () => {
    const matching = wanted();
    found = [...objects.keys()].filter((number) => matching[number]);
    list.replaceChildren();
    listMore();
    list.scrollTop = 0;
    active = 0;
    list.removeAttribute("aria-activedescendant");
    byId("matches").textContent = `${found.length} of ${objects.length} objects`;
    graph.batch(() => matching.forEach((matches, number) => {
      if (faint[number] === !matches) return;
      faint[number] = !matches;
      nodes[number].toggleClass("faint", !matches);
    }));
  };

  // --- the object that was chosen ------------------------------------------------------------------------------

  const links = (heading, pairs) => {
    if (!pairs.length) return [];
    const items = pairs.slice(0, LISTED).map(([number]) => element("li", "", {}, [chooser(number)]));
    return [element("h3", `${heading} (${pairs.length})`), element("ul", "", {}, items)];
  };
  const unitLine = (scope) => {
    const unit = unitOf.get(scope);
    return unit ? `${unit.name}: ${unit.state}` : scope;
  };
  const textList = (heading, texts) =>
    texts.length ? [element("h3", heading), element("ul", "", {}, texts.map((text) => element("li", text)))] : [];

  const describe = (number) => {
    const object = objects[number];
    const path = element("ol", "", {}, object.path.map((step) => element("li", step)));
    return [
      element("h2", `${object.kind} ${place(object)}`),
      element("p", `It ${fateOf(object)}.`, { class: `fate-${object.fate}` }),
      element("p", object.reason),
      ...(object.created ? [element("p", `Number ${object.created} in the order of creation on the target.`)] : []),
      ...(object.deleted ? [element("p", `Number ${object.deleted} in the order of deletion from the source.`)] : []),
      ...textList("Units", object.units.map(unitLine)),
      ...(object.path.length > 1 ? [element("h3", "Path from its root"), path] : []),
      ...links("Owners", above[number]),
      ...links("Dependents", below[number]),
    ];
  };

  const details = byId("details");
  const nothing = [...details.children];
  const choose = (number, { center = true } = {}) => {
    const hadFocus = details.contains(document.activeElement);
    chosen = number;
    details.replaceChildren(...(number < 0 ? nothing : describe(number)));
    if (hadFocus) details.focus({ preventScroll: true });
    mark(number);
    for (const item of list.querySelectorAll("[aria-selected=true]")) item.setAttribute("aria-selected", false);
    byId(`o${number}`)?.setAttribute("aria-selected", true);
    if (number < 0) return;
    if (center) go(number);
    if (matchMedia("(max-width: 60rem)").matches) details.scrollIntoView({ block: "nearest" });
    location.replace(`#${encodeURIComponent(objects[number].uid)}`);
  };

  // --- keys and pointers ---------------------------------------------------------------------------------------

  const onKeys = (target, keys) => target.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  const next = (step) => {
    const index = found.indexOf(chosen);
    const number = found[index < 0 ? 0 : Math.max(0, Math.min(index + step, found.length - 1))];
    if (number !== undefined) choose(number);
  };
  const follow = (pairs) => pairs?.length && choose(pairs[0][0]);

  const enter = () => found.length && choose(found[active]);
  onKeys(list, {
    ArrowDown: () => activate(list.hasAttribute("aria-activedescendant") ? active + 1 : 0),
    ArrowUp: () => activate(active - 1),
    PageDown: () => activate(active + 10),
    PageUp: () => activate(active - 10),
    Home: () => activate(0),
    End: () => activate(found.length - 1),
    Enter: enter,
    " ": enter,
  });
  onKeys(byId("search"), {
    ArrowDown: () => { list.focus(); activate(0); },
    Enter: () => { show(); activate(0); enter(); },
  });
  onKeys(byId("graph"), {
    ArrowDown: () => next(1),
    ArrowUp: () => next(-1),
    ArrowLeft: () => follow(above[chosen]),
    ArrowRight: () => follow(below[chosen]),
    Enter: () => details.focus(),
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    0: whole,
  });
  document.addEventListener("keydown", (event) => {
    const isWriting = event.target.matches("input[type=search], select");
    if (event.key === "/" && !isWriting) {
      event.preventDefault();
      byId("search").focus();
    } else if (event.key === "Escape" && byId("search").value) {
      byId("search").value = "";
      show();
    } else if (event.key === "Escape") {
      choose(-1);
    }
  });
  list.addEventListener("focus", () => activate(active));
  list.addEventListener("scroll", () => {
    if (list.scrollTop + list.clientHeight > list.scrollHeight - 200) listMore();
  });
  list.addEventListener("click", (event) => {
    const item = event.target.closest("[role=option]");
    if (!item) return;
    activate([...list.children].indexOf(item));
    enter();
  });
  let pending = 0;
  byId("filters").addEventListener("input", () => {
    clearTimeout(pending);
    pending = setTimeout(show, isMany ? 150 : 0);
  });
  document.body.addEventListener("click", (event) => {
    const button = event.target.closest("[data-number], [data-unit]");
    if (!button) return;
    if (!byId("explorer").contains(button)) byId("explorer").scrollIntoView();
    if ("number" in button.dataset) {
      choose(Number(button.dataset.number));
      return;
    }
    byId("unit").value = button.dataset.unit;
    show();
    list.focus({ preventScroll: true });
    const matching = graph.nodes().not(".faint");
    if (matching.length) graph.fit(matching, 30);
  });
  graph.on("tap", "node", (event) => choose(Number(event.target.id().slice(1)), { center: false }));
  byId("closer").addEventListener("click", () => zoom(1.4));
  byId("farther").addEventListener("click", () => zoom(1 / 1.4));
  byId("whole").addEventListener("click", whole);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph.style(styles()));
  if (isReport) {
    // A page that is scrolled by the wheel must not be caught by the drawing on its way.
    graph.userZoomingEnabled(false);
    byId("graph").addEventListener("focus", () => graph.userZoomingEnabled(true));
    byId("graph").addEventListener("blur", () => graph.userZoomingEnabled(false));
  }
  byId("graph").addEventListener("pointerdown", () => byId("graph").focus({ preventScroll: true }));

  // --- the beginning -------------------------------------------------------------------------------------------

  const counted = (fate) => objects.filter((object) => object.fate === fate).length;
  byId("counts").textContent =
    `${objects.length} objects: ${counted("move")} move, ${counted("keep")} are copied and kept, ${counted("leave")} stay.`;
  const options = (select, names, text, value) =>
    select.append(...names.map((name) => element("option", text(name), { value: value(name) })));
  const kinds = new Map();
  for (const { kind } of objects) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  options(byId("kind"), [...kinds.keys()].sort(), (kind) => `${kind} (${kinds.get(kind)})`, (kind) => kind);
  const scopes = units.filter(({ scope }) => objects.some((object) => object.units.includes(scope)));
  options(byId("unit"), scopes, (unit) => `${unit.name}: ${unit.state}`, (unit) => unit.scope);
  byId("unit").parentElement.hidden = !scopes.length;

  // A tree of many rows that is shown as a whole is only dots: begin where it begins, and as large as it can be read.
  // One of few rows would fill it with letters as large as a headline.
  if (graph.zoom() < READABLE) graph.viewport({ zoom: READABLE, pan: { x: 40, y: 40 } });
  if (graph.zoom() > LARGEST) graph.viewport({ zoom: LARGEST, pan: { x: 40, y: 40 } });
  new ResizeObserver(() => graph.resize()).observe(byId("graph"));
  show();
  const asked = objects.findIndex((object) => object.uid === decodeURIComponent(location.hash.slice(1)));
  if (asked >= 0) choose(asked);

  function showWhatStays() {
    const groups = new Map();
    objects.forEach((object, number) => {
      if (object.fate === "move") return;
      const heading = `${object.fate === "keep" ? "Copied, and kept: " : ""}${object.reason}`;
      if (!groups.has(heading)) groups.set(heading, []);
      groups.get(heading).push(number);
    });
    if (!groups.size) return;
    const made = [...groups].sort((one, other) => other[1].length - one[1].length).map(([heading, numbers]) => {
      const items = numbers.slice(0, GROUPED).map((number) => element("li", "", {}, [chooser(number)]));
      if (numbers.length > GROUPED) items.push(element("li", `… and ${numbers.length - GROUPED} more: they are in the list below`));
      return element("details", "", {}, [
        element("summary", `${heading} (${numbers.length})`), element("ul", "", {}, items),
      ]);
    });
    const [title] = byId("stayed").children;
    byId("stayed").replaceChildren(title, ...made.slice(0, GROUPED));
  }
})();
