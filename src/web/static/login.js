if (!window.isSecureContext) document.getElementById("insecure-login-warning").hidden = false;
if (!navigator.cookieEnabled) document.getElementById("cookies-off").hidden = false;

const form = document.getElementById("login-form");
if (form) {
  const password = document.getElementById("password_input");
  const submit = document.getElementById("login_submit");
  document.getElementById("password_show_label").hidden = false;
  document.getElementById("password_show").addEventListener("change", (event) => {
    password.type = event.target.checked ? "text" : "password";
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
