// Two small helps, both optional: parts of a page that look again by themselves, and copy buttons.

const refresh = (element) => {
  const every = Number(element.dataset.every) * 1000;
  const live = document.querySelector("[data-live]");
  let shown = element.innerHTML;
  let wait = every;

  const look = async () => {
    if (!document.hidden) {
      try {
        const reply = await fetch(element.dataset.refresh, { headers: { Accept: "text/html" }, redirect: "error" });
        if (!reply.ok) throw new Error(String(reply.status));
        const fresh = await reply.text();
        if (fresh !== shown) {
          const open = [...element.querySelectorAll("details[open][id]")].map((details) => details.id);
          element.innerHTML = fresh;
          open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
          shown = fresh;
        }
        wait = every;
        live?.removeAttribute("data-state");
      } catch {
        wait = Math.min(wait * 2, 60_000);
        live?.setAttribute("data-state", "lost");
      }
    }
    setTimeout(look, wait);
  };
  setTimeout(look, wait);
};

const copyButton = (button) => {
  if (!navigator.clipboard) return;
  const label = button.querySelector("span");
  const text = label.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    label.textContent = "\u2713";
    setTimeout(() => { label.textContent = text; }, 1500);
  });
};

document.querySelectorAll("[data-refresh]").forEach(refresh);
document.querySelectorAll("[data-copy]").forEach(copyButton);
