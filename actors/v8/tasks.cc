// SPDX-License-Identifier: Apache-2.0
//
// The foreground tasks V8 posts for one isolate: they wait here, from whatever thread they come,
// until the isolate is visited. Node's platform asks us for the runner through its
// IsolatePlatformDelegate.
#include <v8-platform.h>

#include <algorithm>
#include <mutex>

#include "actors/v8/internal.hh"
#include "base/clock.h"

namespace isola
{

class Tasks final : public node::IsolatePlatformDelegate
{
  public:
    Tasks(const isola_v8_ops *ops, void *arg) : runner_(std::make_shared<Runner>(ops, arg)) {}
    std::shared_ptr<v8::TaskRunner> GetForegroundTaskRunner() override { return runner_; }
    bool IdleTasksEnabled() override { return false; }
    void run() { runner_->run(); }
    void close() { runner_->close(); }
    void adopt(const isola_v8_ops *ops, void *arg) { runner_->adopt(ops, arg); }

  private:
    class Runner final : public v8::TaskRunner
    {
      public:
        Runner(const isola_v8_ops *ops, void *arg) : ops_(ops), arg_(arg) {}
        bool IdleTasksEnabled() override { return false; }
        bool NonNestableTasksEnabled() const override { return true; }
        bool NonNestableDelayedTasksEnabled() const override { return true; }

        void run()
        {
            std::vector<std::unique_ptr<v8::Task>> due;
            {
                std::lock_guard<std::mutex> hold(mutex_);
                due.swap(ready_);
                uint64_t now = isola_clock_ms();
                auto late = std::partition(later_.begin(), later_.end(),
                                           [now](const Later &l) { return l.at > now; });
                for (auto l = late; l != later_.end(); ++l)
                    due.push_back(std::move(l->task));
                later_.erase(late, later_.end());
            }
            for (auto &task : due)
                task->Run();
        }

        void adopt(const isola_v8_ops *ops, void *arg)
        {
            std::lock_guard<std::mutex> hold(mutex_);
            uint64_t now = isola_clock_ms();
            ops_ = ops;
            arg_ = arg;
            if (!ready_.empty())
                ops_->wake(arg_);
            for (const Later &l : later_)
                ops_->wake_later(arg_, l.at > now ? l.at - now + 1 : 1);
        }

        // V8's background threads may post after the isolate is gone: the runner outlives it, its
        // owner does not.
        void close()
        {
            std::vector<std::unique_ptr<v8::Task>> ready;
            std::vector<Later> later;
            std::lock_guard<std::mutex> hold(mutex_);
            closed_ = true;
            ready.swap(ready_);
            later.swap(later_);
        }

      protected:
        void PostTaskImpl(std::unique_ptr<v8::Task> task, const v8::SourceLocation &) override
        {
            std::lock_guard<std::mutex> hold(mutex_);
            if (closed_)
                return;
            bool first = ready_.empty();
            ready_.push_back(std::move(task));
            if (first && ops_ != nullptr)
                ops_->wake(arg_);
        }
        void PostNonNestableTaskImpl(std::unique_ptr<v8::Task> task,
                                     const v8::SourceLocation &at) override
        {
            PostTaskImpl(std::move(task), at);
        }
        void PostDelayedTaskImpl(std::unique_ptr<v8::Task> task, double seconds,
                                 const v8::SourceLocation &) override
        {
            uint64_t ms = seconds > 0 ? static_cast<uint64_t>(seconds * 1000) : 0;
            std::lock_guard<std::mutex> hold(mutex_);
            if (closed_)
                return;
            later_.push_back({isola_clock_ms() + ms, std::move(task)});
            if (ops_ != nullptr)
                ops_->wake_later(arg_, ms + 1);
        }
        void PostNonNestableDelayedTaskImpl(std::unique_ptr<v8::Task> task, double seconds,
                                            const v8::SourceLocation &at) override
        {
            PostDelayedTaskImpl(std::move(task), seconds, at);
        }

      private:
        struct Later {
            uint64_t at; // ms of isola_clock_ms
            std::unique_ptr<v8::Task> task;
        };
        const isola_v8_ops *ops_;
        void *arg_;
        std::mutex mutex_;
        std::vector<std::unique_ptr<v8::Task>> ready_;
        std::vector<Later> later_;
        bool closed_ = false;
    };

    std::shared_ptr<Runner> runner_;
};

std::unique_ptr<Tasks, void (*)(Tasks *)> make_tasks(const isola_v8_ops *ops, void *arg)
{
    return {new Tasks(ops, arg), [](Tasks *t) {
                t->close();
                delete t;
            }};
}

void adopt_tasks(Tasks *tasks, const isola_v8_ops *ops, void *arg)
{
    tasks->adopt(ops, arg);
}

void run_tasks(Tasks *tasks)
{
    tasks->run();
}

node::IsolatePlatformDelegate *delegate(Tasks *tasks)
{
    return tasks;
}

} // namespace isola
