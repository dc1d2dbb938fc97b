//! Events of the store.

super::events! {
    "store refuses changes" [warn error] [hub] (error)
    "Nothing can be changed now; what is known is served. `warn`: the disk is full, and it goes on by itself once there is room. `error`: the disk fails." "Make room in `hub.state_dir`; on `error` look at the disk (`dmesg`)."
    "store still refuses changes" [debug] [hub] (error)
    "Said again while it lasts." ""
    "store takes changes again" [info] [hub] ()
    "The store has recovered." ""
    "store reloaded" [debug] [hub] (sequence)
    "After a failure the records were read from the disk again." ""
    "store repaired" [warn] [hub] (repair)
    "At opening something was not right and was set right; nothing acknowledged is lost." "Once after a crash or a power cut: fine. Otherwise look at the disk."
    "store repaired again" [debug] [hub] (repair)
    "While the disk stays full each attempt to go on finds the same." ""
    "store format not noted" [debug] [hub] (error)
    "The version of the records could not be noted; the next start tries again." ""
    "store writer ended" [debug] [hub] ()
    "The thread that writes has ended." ""
    "change not stored" [warn] [hub] (why)
    "One change was too large to be stored and was refused." "Look who sends so much."
    "store decision panicked" [error] [hub] ()
    "Our code has failed while it decided on a change; that change was not made." "Report it."
    "store housekeeping put off" [warn] [hub] (error)
    "Snapshots and tidying wait until there is room." "Make room in `hub.state_dir`."
    "store reserve given up" [warn] [hub] ()
    "The disk is full; the file that kept room for that case was removed." "Make room in `hub.state_dir`."
    "store mark not written" [warn] [hub] (error)
    "The number by which a store that was emptied is known was not written; it is tried again." "Look at the disk."
    "refused changes not cut off" [warn] [hub] (error)
    "A change that failed is still in the journal; nothing goes on before it is void." "Look at the disk."
    "journal segment missing" [warn] [hub] (error)
    "After a failure no new part of the journal could be begun; the old one goes on." "Look at the disk."
    "journal segment still missing" [debug] [hub] (error)
    "Another attempt to begin a new part of the journal failed." ""
    "journal segments stay" [warn] [hub] (error)
    "Old parts of the journal could not be removed." "Look at the permissions of `hub.state_dir`."
    "store mark still not written" [debug] [hub] (error)
    "Said again while it lasts." ""
    "journal end written again" [debug] [hub] (frames)
    "At opening, what may have been in memory only was written once more before it counts." ""
    "sled panicked when closing" [warn] [hub] ()
    "The database under the journal could not be closed; it is verified when it is opened again." "Look at the disk."
    "sled does not close" [warn] [hub] (limit_s)
    "The database under the journal has not ended in time; it is left alone." "Look at the disk."
    "sled left behind" [warn] [hub] (error)
    "The database under the journal has failed; journal and snapshots go on without it, and it is made anew." "Look at the disk."
    "snapshot written" [info] [hub] (sequence)
    "A snapshot of all records was written and read back." ""
    "snapshot not begun" [warn] [hub] (error)
    "A snapshot could not be begun; it is tried again." "Look at the disk."
    "snapshot failed" [warn] [hub] (error)
    "A snapshot could not be written or was not what it should be; it is tried again." "Make room, or look at the disk."
    "snapshot failed again" [debug] [hub] (error)
    "Said again while it lasts." ""
    "snapshot leftovers stay" [warn] [hub] (error)
    "Unfinished snapshots could not be removed." "Look at the permissions of `hub.state_dir`."
    "backup not begun" [warn] [hub] (error)
    "A backup that was asked for could not be begun; whoever asked hears it too." "Mend what `error` names."
    "backup written" [info] [hub] (sequence)
    "A backup that was asked for is whole and was checked." ""
    "backup failed" [warn] [hub] (error)
    "A backup that was asked for could not be written; whoever asked hears it too." "Mend what `error` names."
}
