"use strict";
// Draws the graph and lets one look around in it. All that is shown comes from the element #data.
(() => {
  const LISTED = 500; // more lines than anybody reads make the page slow
  const FATES = { move: "moves", keep: "is copied, and kept on the source", leave: "stays on the source" };
  const { objects, edges } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const place = (object) => (object.namespace ? `${object.namespace}/${object.name}` : object.name);
  const above = objects.map(() => []);
  const below = objects.map(() => []);
  for (const [owner, dependent] of edges) {
    above[dependent].push(owner);
    below[owner].push(dependent);
  }
  let chosen = -1;

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const styles = () => [
    {
      selector: "node",
      style: {
        width: 14, height: 14, label: "data(label)", "font-size": 11, "text-halign": "right", "text-valign": "center",
        "text-margin-x": 5, color: color("text"), "background-color": color("leave"), "min-zoomed-font-size": 5,
      },
    },
    { selector: "node.move", style: { "background-color": color("move") } },
    { selector: "node.keep", style: { "background-color": color("keep"), shape: "diamond" } },
    { selector: "node.leave", style: { shape: "rectangle" } },
    { selector: "edge", style: { width: 1, "line-color": color("edge"), "curve-style": "taxi", "taxi-direction": "rightward", "taxi-turn": 12 } },
    { selector: "edge.soft", style: { "line-style": "dashed" } },
    { selector: ".faint", style: { opacity: 0.15 } },
    { selector: "node.chosen", style: { "border-width": 4, "border-color": color("chosen") } },
    { selector: "edge.chosen", style: { width: 2, "line-color": color("chosen") } },
  ];
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
        classes: hard ? "" : "soft",
      })),
    },
    layout: { name: "preset", padding: 30 },
    style: styles(),
    autoungrabify: true,
    hideEdgesOnViewport: objects.length > 2000,
    textureOnViewport: objects.length > 2000,
    minZoom: 0.02,
    maxZoom: 3,
  });

  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  const wanted = () => {
    const text = byId("search").value.trim().toLowerCase();
    const kind = byId("kind").value;
    const fates = new Set([...document.querySelectorAll("[name=fate]:checked")].map((box) => box.value));
    return objects.map((object) =>
      fates.has(object.fate) && (!kind || object.kind === kind) && `${object.kind} ${place(object)}`.toLowerCase().includes(text));
  };

  const show = () => {
    const matching = wanted();
    const numbers = [...objects.keys()].filter((number) => matching[number]);
    const found = [...numbers];
    byId("objects").replaceChildren(...found.slice(0, LISTED).map((number) => {
      const object = objects[number];
      const item = document.createElement("li");
      const button = element("button", place(object), { type: "button", "data-number": number, "data-fate": object.fate });
      button.append(element("small", `${object.kind}, ${FATES[object.fate]}`));
      if (number === chosen) button.setAttribute("aria-current", "true");
      item.append(button);
      return item;
    }));
    const rest = found.length > LISTED ? `, the first ${LISTED} listed` : "";
    byId("matches").textContent = `${found.length} of ${objects.length} objects${rest}`;
    graph.batch(() => graph.nodes().forEach((node, number) => node.toggleClass("faint", !matching[number])));
  };

  const links = (heading, numbers) => {
    if (!numbers.length) return [];
    const list = document.createElement("ul");
    for (const number of numbers.slice(0, LISTED)) {
      const item = document.createElement("li");
      item.append(element("button", `${objects[number].kind} ${place(objects[number])}`, { type: "button", "data-number": number }));
      list.append(item);
    }
    return [element("h3", `${heading} (${numbers.length})`), list];
  };

  const choose = (number, center) => {
    chosen = number;
    const object = objects[number];
    const path = document.createElement("ol");
    path.append(...object.path.map((step) => element("li", step)));
    byId("details").replaceChildren(
      element("h2", `${object.kind} ${place(object)}`),
      element("p", `It ${FATES[object.fate]}.`, { class: `fate-${object.fate}` }),
      element("p", object.reason),
      ...(object.created ? [element("p", `Created as number ${object.created} on the target.`)] : []),
      ...(object.deleted ? [element("p", `Deleted as number ${object.deleted} from the source.`)] : []),
      ...(object.path.length > 1 ? [element("h3", "Path from its root"), path] : []),
      ...links("Owners", above[number]),
      ...links("Dependents", below[number]),
    );
    graph.batch(() => {
      graph.elements(".chosen").removeClass("chosen");
      const node = graph.getElementById(`n${number}`);
      node.addClass("chosen");
      node.connectedEdges().addClass("chosen");
      if (center) graph.animate({ center: { eles: node }, zoom: Math.max(graph.zoom(), 0.8), duration: 200 });
    });
    for (const button of byId("objects").querySelectorAll("button")) {
      button.toggleAttribute("aria-current", false);
      if (Number(button.dataset.number) === number) button.setAttribute("aria-current", "true");
    }
    location.replace(`#${encodeURIComponent(object.uid)}`);
  };

  const zoom = (factor) => graph.zoom({
    level: graph.zoom() * factor,
    renderedPosition: { x: graph.width() / 2, y: graph.height() / 2 },
  });

  const counts = Object.entries(FATES).map(([fate, words]) =>
    `${objects.filter((object) => object.fate === fate).length} ${{ move: "move", keep: "are copied and kept", leave: "stay" }[fate] ?? words}`);
  byId("counts").textContent = `${objects.length} objects: ${counts.join(", ")}.`;
  const kinds = [...new Set(objects.map((object) => object.kind))].sort();
  byId("kind").append(...kinds.map((kind) => {
    const count = objects.filter((object) => object.kind === kind).length;
    return element("option", `${kind} (${count})`, { value: kind });
  }));

  byId("filters").addEventListener("input", show);
  document.body.addEventListener("click", (event) => {
    const button = event.target.closest("[data-number]");
    if (button) choose(Number(button.dataset.number), true);
  });
  graph.on("tap", "node", (event) => choose(Number(event.target.id().slice(1)), false));
  byId("closer").addEventListener("click", () => zoom(1.4));
  byId("farther").addEventListener("click", () => zoom(1 / 1.4));
  byId("whole").addEventListener("click", () => graph.fit(undefined, 30));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== byId("search")) {
      event.preventDefault();
      byId("search").focus();
    } else if (event.key === "Escape" && byId("search").value) {
      byId("search").value = "";
      show();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph.style(styles()));

  // A tree of many rows that is shown as a whole is only dots: begin where it begins, and as large as it can be read.
  if (graph.zoom() < 0.8) graph.viewport({ zoom: 0.8, pan: { x: 40, y: 40 } });
  new ResizeObserver(() => graph.resize()).observe(byId("graph"));
  show();
  const asked = objects.findIndex((object) => object.uid === decodeURIComponent(location.hash.slice(1)));
  if (asked >= 0) choose(asked, true);
})();
