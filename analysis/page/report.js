"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, values = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), values);
    element.append(...children);
    return element;
  };

  // What is wider than the page can be scrolled with the keyboard.
  const reachable = () => all(".scroller").forEach((box) => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);

  // Tables: sort, filter, save.
  const text = (row, column) => row.cells[column].textContent.trim();
  const value = (written) => {
    const found = written.replace(/,(?=\d{3})/g, "").match(/^<?\s*(-?\d*\.?\d+(?:e[+-]?\d+)?)/);
    return found ? Number(found[1]) : written === "not reached" ? Infinity : NaN;
  };
  const sort = (table, column, down) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [row, text(row, column), value(text(row, column))]);
    const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
    const known = rows.filter((row) => (numeric ? !Number.isNaN(row[2]) : row[1] !== "-"));
    const unknown = rows.filter((row) => !known.includes(row));
    const order = (a, b) => (numeric && a[2] !== b[2] ? a[2] - b[2] : a[1].localeCompare(b[1], "en", { numeric: true }));
    known.sort((a, b) => (down ? order(b, a) : order(a, b)));
    body.append(...known.map((row) => row[0]), ...unknown.map((row) => row[0]));
    [...table.tHead.rows[0].cells].forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${cell.replace(/"/g, '""')}"` : cell);
  all(".tabled").forEach((box, number) => {
    const table = box.querySelector("table"), tools = box.querySelector(".tools");
    if (!table.tHead) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      button.onclick = () => sort(table, column, head.getAttribute("aria-sort") === "ascending");
      head.append(button);
    });
    if (table.tBodies[0].rows.length > 8) {
      const found = make("span", { role: "status" });
      const field = make("input", { type: "search", id: `rows-${number}` });
      field.oninput = () => {
        const wanted = field.value.trim().toLowerCase(), rows = [...table.tBodies[0].rows];
        rows.forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
        found.textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
      };
      tools.prepend(make("label", { htmlFor: field.id }, "Rows with"), field, found);
    }
    const link = make("a", { href: "#", download: `${table.dataset.name}.csv` }, "CSV, as shown");
    link.onclick = () => {
      const rows = [table.tHead.rows[0], ...[...table.tBodies[0].rows].filter((row) => !row.hidden)];
      const lines = rows.map((row) => [...row.cells].map((_, column) => quoted(text(row, column))).join(","));
      link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(lines.join("\n") + "\n")}`;
    };
    tools.append(link);
    tools.hidden = false;
  });

  // Panels against several things: one of them at a time, the same in all figures that have it.
  const choose = (along) => all("figure").forEach((figure) => {
    const mine = all(".along input", figure), chosen = mine.find((input) => input.value === along);
    if (!chosen) return;
    chosen.checked = true;
    all(".block", figure).forEach((block) => {
      const panels = all(".panel", block);
      panels.forEach((panel) => { panel.hidden = panel.dataset.along !== along; });
      block.hidden = panels.every((panel) => panel.hidden);
    });
  });
  all(".along").forEach((choice) => {
    choice.hidden = false;
    choice.onchange = (event) => { choose(event.target.value); reachable(); };
  });
  all(".along").reverse().forEach((choice) => choose(choice.querySelector("input").value));

  // Arms: the one in hand stands out, those that were switched off are gone, in all figures.
  const rules = document.head.appendChild(make("style")), tip = make("div", { id: "tip", hidden: true });
  document.body.append(tip);
  const off = new Set(), names = new Map();
  let hand = "";
  const render = () => {
    const gone = [...off].map((arm) => `.panel [data-a="${arm}"]`).join();
    rules.textContent = (gone && `${gone}{display:none}`) +
      (hand && !off.has(hand) ? `.panel g[data-a]:not([data-a="${hand}"]){opacity:.13}` : "");
    all(".legend button").forEach((button) =>
      button.setAttribute("aria-pressed", String(!off.has(button.dataset.a))));
  };
  const take = (arm) => { if (arm !== hand) { hand = arm; render(); } };
  all(".legend li[data-a]").forEach((item) => {
    const button = make("button", { type: "button" }, ...item.childNodes), arm = item.dataset.a;
    names.set(arm, button.textContent.trim());
    button.dataset.a = arm;
    item.replaceChildren(button);
    button.onclick = () => { if (!off.delete(arm)) off.add(arm); render(); };
    button.onpointerenter = button.onfocus = () => take(arm);
    button.onpointerleave = button.onblur = () => take("");
  });
  // A line is thin: the nearest one within a few pixels counts.
  const near = [[0, 0], [0, 3], [0, -3], [3, 0], [-3, 0], [4, 4], [-4, -4], [4, -4], [-4, 4]];
  all(".panel").forEach((panel) => {
    panel.onpointermove = (event) => {
      let arm = "";
      for (const [x, y] of near) {
        const hit = document.elementFromPoint(event.clientX + x, event.clientY + y);
        arm = (hit && hit.closest(".panel g[data-a]") || { dataset: { a: "" } }).dataset.a;
        if (arm) break;
      }
      take(arm);
      tip.hidden = !names.get(arm);
      tip.textContent = names.get(arm) || "";
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 14}px`;
    };
    panel.onpointerleave = () => { take(""); tip.hidden = true; };
  });
  render();

  // Paper has no folds.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));
  reachable();
})();
