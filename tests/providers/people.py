"""Who is at our GitHub: users, organisations, teams, and what the API shows of them (shapes: docs.github.com/rest, version
2022-11-28). No sockets here."""


class People:
    def __init__(self):
        self.users, self.orgs, self.last = {}, {}, 1_000

    def number(self):
        self.last += 1
        return self.last

    def user(self, login):
        return self.users.get(login.lower())

    def org(self, login):
        return self.orgs.get(login.lower())

    def tell_user(self, login, **more):
        """A user is made, or changed. `emails`, `two_factor`, `suspended`, and fields of the API."""
        it = self.user(login)
        if it is None:
            it = {"login": login, "id": self.number(), "name": login.title(), "email": None, "emails": None}
            self.users[login.lower()] = it
        it.update(more)
        return it

    def rename(self, old, new):
        """The same person, the same `id`; the old name is free for anybody."""
        it = self.users.pop(old.lower())
        it["login"] = new
        self.users[new.lower()] = it
        for org in self.orgs.values():
            for members in [org["members"], *(team["members"] for team in org["teams"].values())]:
                if old.lower() in members:
                    members[new.lower()] = members.pop(old.lower())

    def remove(self, login):
        self.users.pop(login.lower(), None)
        for org in self.orgs.values():
            for members in [org["members"], *(team["members"] for team in org["teams"].values())]:
                members.pop(login.lower(), None)

    def tell_org(self, login, members=None, teams=None, **more):
        """An organisation is made, or changed. `members`: {"carol": {"public": false, "role": "member", "state": "active"}};
        `teams`: {"Staff": {"members": {…}, "privacy": "closed", "parent": null}}, by name or slug. Also: `sso` (its members
        have to come by its own sign-in), `restricted` (it lets no app in that it has not approved)."""
        it = self.orgs.setdefault(login.lower(), {"login": login, "id": self.number(), "members": {}, "teams": {}})
        it.update(more)
        for name, how in (members or {}).items():
            if how is None:
                it["members"].pop(name.lower(), None)
            else:
                it["members"][name.lower()] = {"public": False, "role": "member", "state": "active"} | how
        for name, how in (teams or {}).items():
            slug = name.lower().replace(" ", "-")
            team = it["teams"].setdefault(slug, {
                "id": self.number(), "name": name, "slug": slug, "privacy": "closed", "parent": None, "members": {}})
            team.update({key: value for key, value in how.items() if key != "members"})
            for who, role in how.get("members", {}).items():
                if role is None:
                    team["members"].pop(who.lower(), None)
                else:
                    team["members"][who.lower()] = {"role": "member", "state": "active"} | role
        return it

    # --- who is where ---

    def member(self, org, login):
        """The membership, if it is not only offered."""
        it = org["members"].get(login.lower())
        return it if it and it["state"] == "active" else None

    def of_team(self, org, team, login):
        """Members of child teams are members (docs: "Team members will include the members of child teams")."""
        it = team["members"].get(login.lower())
        if it:
            return it
        children = [child for child in org["teams"].values() if child["parent"] == team["slug"]]
        return next((found for child in children if (found := self.of_team(org, child, login))), None)


# --- what the API shows ---

def simple(it, base, kind="User"):
    login = it["login"]
    here = f"{base}/users/{login}"
    return {
        "login": login, "id": it["id"], "node_id": f"U_{it['id']:08x}", "avatar_url": f"{base}/avatars/{it['id']}?v=4",
        "gravatar_id": "", "url": here, "html_url": f"{base}/{login}", "followers_url": f"{here}/followers",
        "following_url": here + "/following{/other_user}", "gists_url": here + "/gists{/gist_id}",
        "starred_url": here + "/starred{/owner}{/repo}", "subscriptions_url": f"{here}/subscriptions",
        "organizations_url": f"{here}/orgs", "repos_url": f"{here}/repos", "events_url": here + "/events{/privacy}",
        "received_events_url": f"{here}/received_events", "type": kind, "user_view_type": "public", "site_admin": False,
    }


def public(it, base):
    keep = {key: value for key, value in it.items() if key not in ("emails", "suspended")}
    return simple(it, base) | {
        "company": None, "blog": "", "location": None, "hireable": None, "bio": None, "twitter_username": None,
        "notification_email": it["email"], "public_repos": 2, "public_gists": 0, "followers": 1, "following": 0,
        "created_at": "2015-03-01T09:30:00Z", "updated_at": "2026-11-01T12:00:00Z",
    } | keep


def private(it, base):
    return public(it, base) | {
        "user_view_type": "private", "private_gists": 0, "total_private_repos": 0, "owned_private_repos": 0,
        "disk_usage": 9, "collaborators": 0, "two_factor_authentication": True,
        "plan": {"name": "free", "space": 976562499, "collaborators": 0, "private_repos": 10000},
    }


def emails(it):
    own = it["emails"]
    if own is not None:
        return own
    address = it["email"] or f"{it['login'].lower()}@people.test"
    hidden = f"{it['id']}+{it['login']}@users.noreply.github.test"
    return [
        {"email": address, "primary": True, "verified": True, "visibility": "private"},
        {"email": hidden, "primary": False, "verified": True, "visibility": None},
    ]


def organisation(it, base):
    here = f"{base}/orgs/{it['login']}"
    return {
        "login": it["login"], "id": it["id"], "node_id": f"O_{it['id']:08x}", "url": here, "repos_url": f"{here}/repos",
        "events_url": f"{here}/events", "hooks_url": f"{here}/hooks", "issues_url": f"{here}/issues",
        "members_url": here + "/members{/member}", "public_members_url": here + "/public_members{/member}",
        "avatar_url": f"{base}/avatars/{it['id']}?v=4", "description": it.get("description", ""),
    }


def team(it, org, base):
    here = f"{base}/organizations/{org['id']}/team/{it['id']}"
    parent = org["teams"].get(it["parent"]) if it["parent"] else None
    return {
        "name": it["name"], "id": it["id"], "node_id": f"T_{it['id']:08x}", "slug": it["slug"], "description": "",
        "privacy": it["privacy"], "notification_setting": "notifications_enabled", "url": here,
        "html_url": f"{base}/orgs/{org['login']}/teams/{it['slug']}", "members_url": here + "/members{/member}",
        "repositories_url": f"{here}/repos", "permission": "pull", "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "members_count": len(it["members"]), "repos_count": 0,
        "organization": organisation(org, base) | {"type": "Organization"},
        "parent": None if parent is None else {"id": parent["id"], "name": parent["name"], "slug": parent["slug"]},
    }
