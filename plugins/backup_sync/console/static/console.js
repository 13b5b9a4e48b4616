// What a page in Airflow's frame cannot do without a script: take its colours, leave the frame, and follow a run that is at work.
(() => {
  const root = document.documentElement;
  const outside = window.parent === window ? null : window.parent.document;
  const paint = () => {
    let theme = null;
    if (outside && outside.documentElement.classList.contains("dark")) theme = "dark";
    else if (outside && outside.documentElement.classList.contains("light")) theme = "light";
    else theme = window.localStorage.getItem("theme"); // where Airflow's pages keep it
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  paint();
  if (outside) {
    new MutationObserver(paint).observe(outside.documentElement, { attributeFilter: ["class"] });
    // The frame may not navigate the page around it; a link of that page may.
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a.up");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const own = outside.createElement("a");
      own.href = link.href;
      outside.body.append(own);
      own.click();
      own.remove();
    });
  }
  // Only what changed is put in, and not while somebody is at it with the keyboard: a page that loads itself anew takes the focus away.
  const follow = async () => {
    const main = document.querySelector("main[data-running]");
    if (!main) return;
    const answer = main.contains(document.activeElement) ? null : await fetch(window.location.href).catch(() => null);
    if (answer && answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (fresh) main.replaceWith(fresh); // not so the page of a proxy that wants a login
    }
    window.setTimeout(follow, 5000);
  };
  window.setTimeout(follow, 5000);
})();
