"use strict";
(() => {
  const enhance = (table) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const box = table.closest("section")?.querySelector(".filters");
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
    if (filters.length) {
      box.hidden = false;
      filter();
    }
  };
  document.querySelectorAll("table.results").forEach(enhance);

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

  // Only what is chosen is drawn. The rest waits as text, since elements cost time to make even inside a template.
  const made = (source) => {
    const template = document.createElement("template");
    template.innerHTML = source.textContent;
    return template.content;
  };
  const choosers = {};
  for (const box of document.querySelectorAll("[data-chooser]")) {
    const name = box.dataset.chooser;
    const host = document.querySelector(`[data-host="${name}"]`);
    const parts = [...box.querySelectorAll("[data-part]")];
    const waiting = [...document.querySelectorAll(`script[data-for="${name}"]`)];
    const first = [...host.childNodes];
    const fits = (element) => parts.every((part) => element.dataset[part.dataset.part] === part.value);
    const show = () => {
      const chosen = waiting.find(fits);
      host.replaceChildren(...(chosen ? [made(chosen)] : fits(host) ? first : []));
      if (chosen) host.querySelectorAll("table.results").forEach(enhance);
      fade();
    };
    for (const part of parts) part.addEventListener("change", show);
    for (const button of box.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => {
        const [select] = parts;
        const at = select.selectedIndex + Number(button.dataset.step);
        select.selectedIndex = (at + select.options.length) % select.options.length;
        show();
      });
    }
    box.hidden = false;
    if (!first.some((node) => node.nodeType === Node.ELEMENT_NODE)) show();
    choosers[name] = { parts, show };
  }

  const open = () => document.querySelectorAll("details").forEach((part) => (part.open = true));
  window.addEventListener("beforeprint", open);
  // A link to a closed part would lead to nothing that can be seen.
  const reveal = () => {
    const setting = /^#setting-(\d+)$/.exec(location.hash);
    if (setting && choosers.setting) {
      choosers.setting.parts[0].value = setting[1];
      choosers.setting.show();
      document.getElementById("details").scrollIntoView();
    }
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  window.addEventListener("hashchange", reveal);
  reveal();
})();
