// The theme makes wide code and tables reachable by keyboard; this does the same for formulas and outputs.
const makeReachable = () => {
  for (const formula of document.querySelectorAll("mjx-container:not([display])")) {
    formula.classList.remove("wide");
    const room = formula.closest("p, li, dd, td, div").clientWidth;
    formula.classList.toggle("wide", formula.offsetWidth > room);
  }
  for (const box of document.querySelectorAll("div.math, mjx-container, .cell_output .output")) {
    const scrolls = box.matches("mjx-container") ? box.matches(".wide") : box.scrollWidth > box.clientWidth + 1;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};

// Printed sentences wrap on a narrow screen; printed tables keep their columns and scroll.
const wrapSentences = () => {
  for (const box of document.querySelectorAll(".cell_output .stream pre")) {
    box.classList.toggle("sentences", !/\S {2,}\S|[│┃|]/.test(box.textContent));
  }
};

addEventListener("resize", makeReachable);
addEventListener("load", () => {
  wrapSentences();
  makeReachable();
  window.MathJax?.startup?.promise?.then(() => document.fonts.ready).then(makeReachable);
});
