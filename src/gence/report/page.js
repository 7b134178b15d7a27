"use strict";
(() => {
  for (const table of document.querySelectorAll("table.results")) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const box = table.closest("section").querySelector(".filters");
    const filters = box ? [...box.querySelectorAll("[data-filter]")] : [];

    const compare = (a, b) => {
      const [x, y] = [Number(a), Number(b)];
      return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en") : x - y;
    };
    const sort = (column, direction) => {
      const sign = direction === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column].dataset.value;
      // A value that is missing is neither high nor low: it goes last either way.
      rows.sort((a, b) => {
        if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
        return sign * compare(value(a), value(b));
      });
      body.append(...rows);
      heads.forEach((head, i) => (i === column ? head.setAttribute("aria-sort", direction) : head.removeAttribute("aria-sort")));
    };
    const filter = () => {
      let shown = 0;
      for (const row of rows) {
        row.hidden = filters.some((select) => select.value !== "" && row.dataset[select.dataset.filter] !== select.value);
        shown += row.hidden ? 0 : 1;
      }
      box.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
    };

    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const sorted = head.getAttribute("aria-sort");
        const other = sorted === "ascending" ? "descending" : "ascending";
        sort(column, sorted ? other : head.dataset.first);
      });
      if ("start" in head.dataset) sort(column, head.dataset.first);
    });
    for (const select of filters) {
      const start = select.querySelector("[data-start]");
      select.value = start ? start.value : "";
      select.addEventListener("change", filter);
    }
    if (box) {
      box.hidden = false;
      filter();
    }
  }

  const buttons = [...document.querySelectorAll("[data-show]")];
  const fade = () => {
    const pressed = buttons.filter((button) => button.getAttribute("aria-pressed") === "true");
    const chosen = new Set(pressed.map((button) => button.dataset.show));
    for (const part of document.querySelectorAll(".card [data-loss]")) {
      part.classList.toggle("dim", chosen.size > 0 && !chosen.has(part.dataset.loss));
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      fade();
    });
  }
  fade();

  const open = () => document.querySelectorAll("details").forEach((part) => (part.open = true));
  window.addEventListener("beforeprint", open);
  // A link to a closed part would lead to nothing that can be seen.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  window.addEventListener("hashchange", reveal);
  reveal();
})();
