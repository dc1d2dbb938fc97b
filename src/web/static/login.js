const show = (id) => document.getElementById(id)?.removeAttribute("hidden");
if (!window.isSecureContext) show("insecure-login-warning");
if (!navigator.cookieEnabled) show("cookies-off");

for (const form of document.querySelectorAll("form.login")) {
  const password = form.querySelector("[name=password]");
  const submit = form.querySelector("button");
  const toggle = form.querySelector(".password_show");
  toggle.closest("label").hidden = false;
  toggle.addEventListener("change", () => {
    password.type = toggle.checked ? "text" : "password";
  });
  form.addEventListener("submit", () => {
    password.type = "password";
    submit.disabled = true;
  });
  // Coming back by the "back" button must find the button usable.
  window.addEventListener("pageshow", () => {
    submit.disabled = false;
  });
}
