if (!window.isSecureContext) document.getElementById("insecure-login-warning").hidden = false;

const password = document.getElementById("password_input");
document.getElementById("password_show").addEventListener("change", (event) => {
  password.type = event.target.checked ? "text" : "password";
});
document.getElementById("login-form").addEventListener("submit", () => {
  password.type = "password";
  document.getElementById("login_submit").disabled = true;
});
// Coming back by the "back" button must find the button usable.
window.addEventListener("pageshow", () => {
  document.getElementById("login_submit").disabled = false;
});
