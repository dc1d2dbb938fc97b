// Runs before anything is drawn: the theme chosen here before, and what scripts of a site's own pages know from
// JupyterHub's (`window.jhdata`).
(() => {
  const data = document.body.dataset;
  window.jhdata = {
    base_url: data.baseUrl,
    prefix: data.prefix,
    user: data.user,
    admin_access: data.admin === "yes",
    xsrf_token: data.xsrf,
  };
  let theme = null;
  try {
    theme = localStorage.getItem("jupyterhub-bs-theme");
  } catch {
    // No storage: the system's theme it is.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.bsTheme = theme;
})();
